"""Marks on pictures: seen at any size, told apart without colours, and never on the picture itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.marks import COLOURS, Mark, add_mark, frame_width, letters_for, mark_band
from mmgrad_explain.images.panels import panel

FAILS, DOUBTFUL = Mark("fails", "Fails: does not agree with occlusion"), Mark("doubtful", "Unfamiliar image")


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("width", [90, 200, 1024, 4000])
@pytest.mark.parametrize("mark", [FAILS, DOUBTFUL])
def test_the_picture_is_whole_and_framed_and_the_band_lies_below(width: int, mark: Mark) -> None:
    picture = _noise(width, 120)
    marked, frame = add_mark(picture, mark), frame_width(width)
    box = (frame, frame, frame + width, frame + 120)
    assert np.array_equal(np.asarray(marked.crop(box)), np.asarray(picture))
    ground = ImageColor.getrgb(COLOURS[mark.level][0])
    edge = np.concatenate([np.asarray(marked)[:frame].reshape(-1, 3), np.asarray(marked)[:, :frame].reshape(-1, 3)])
    assert (edge == ground).all()
    assert marked.height > 120 + letters_for(width)


def test_letters_are_readable_in_a_thumbnail_and_on_a_large_picture_shown_small() -> None:
    assert letters_for(60) == letters_for(200) == 12
    assert letters_for(4000) / 4000 * 1000 >= 20  # shown 1000 pixels wide
    assert [letters_for(width) for width in range(100, 5000, 50)] == sorted(
        letters_for(width) for width in range(100, 5000, 50)
    )


def test_levels_differ_in_grey_and_their_letters_stand_out() -> None:
    def luminance(colour: str) -> float:
        linear = [
            (v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4) for v in ImageColor.getrgb(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(first: str, second: str) -> float:
        low, high = sorted((luminance(first), luminance(second)))
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(*colours) > 7 for colours in COLOURS.values())
    assert contrast(COLOURS["fails"][0], COLOURS["doubtful"][0]) > 4.5


def test_a_band_wraps_its_words_and_draws_its_sign() -> None:
    wide, narrow = mark_band(FAILS, 600), mark_band(FAILS, 130)
    assert (wide.width, narrow.width) == (600, 130)
    assert narrow.height > 2 * letters_for(130)
    pixels = np.asarray(mark_band(Mark("fails", ""), 200))
    assert (pixels[:, :20] == 255).all(-1).sum() > 50
    assert not (pixels[:, 40:] == 255).all(-1).any()


def test_no_mark_leaves_a_picture_as_it_is_and_its_information_is_kept() -> None:
    picture = _noise(50, 40)
    picture.info["a"] = 1
    assert add_mark(picture, None) is picture
    assert add_mark(picture, FAILS).info == {"a": 1}


def test_a_panel_marks_single_tiles_and_keeps_all_tiles_whole() -> None:
    tiles = [_noise(200, 100), _noise(160, 100), _noise(200, 100)]
    plain = panel(tiles, ["a", "b", "c"], height=100)
    marked = panel(tiles, ["a", "b", "c"], height=100, marks=[None, FAILS, None])
    assert marked.width == plain.width
    assert marked.height > plain.height
    pixels = np.asarray(marked)
    windows = np.lib.stride_tricks.sliding_window_view(pixels[:, :, 0], (100, 160))
    assert (windows == np.asarray(tiles[1])[:, :, 0]).all((2, 3)).sum() == 1
    assert (pixels == ImageColor.getrgb(COLOURS["fails"][0])).all(-1).sum() > 1000
    same = panel(tiles, ["a", "b", "c"], height=100, marks=[None] * 3)
    assert np.array_equal(np.asarray(same), np.asarray(plain))
    with pytest.raises(InputError, match="a mark for each tile: 3 tiles, 1 marks"):
        panel(tiles, marks=[FAILS])
