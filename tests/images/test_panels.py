"""Images side by side, captions, and the legend."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.overlay import blend, colorize
from mmgrad_explain.images.panels import colorbar, panel


def _ink(sheet, box):
    return np.abs(np.asarray(sheet.crop(box)).astype(int) - sheet.getpixel((0, 0))).max()


def test_panel_shows_its_tiles_in_order():
    tiles = [Image.new("RGB", (400, 400), color) for color in ("red", "lime", "blue")]
    sheet = panel(tiles)
    assert sheet.mode == "RGB"
    middle = np.asarray(sheet)[200]
    found = [np.flatnonzero((middle == color).all(-1)) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert [len(columns) for columns in found] == [400, 400, 400]
    assert found[0][-1] < found[1][0]
    assert found[1][-1] < found[2][0]
    assert sheet.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("side", "options", "expected"),
    [(96, {}, 320), (500, {}, 500), (3000, {}, 1024), (96, {"height": 100}, 100), (500, {"height": 100}, 100)],
)
def test_panel_height(side, options, expected):
    sheet = panel([Image.new("RGB", (side, side), "red"), np.zeros((50, 50, 3), np.uint8)], **options)
    array = np.asarray(sheet)
    assert (array == (255, 0, 0)).all(-1).any(1).sum() == expected
    assert (array == 0).all(-1).any(1).sum() == expected


def test_panel_of_extreme_shapes():
    sheet = panel([Image.new("RGB", (4000, 3), "red"), Image.new("RGB", (3, 4000), "blue"), Image.new("RGB", (1, 1))])
    assert sheet.width < 3 * 1024 + 3 * 1024
    assert (np.asarray(sheet) == (255, 0, 0)).all(-1).any()
    assert (np.asarray(sheet) == (0, 0, 255)).all(-1).any()


def test_captions_are_below_their_tiles_and_the_title_above():
    tiles = [Image.new("RGB", (320, 320), "white")] * 2
    plain = panel(tiles)
    sheet = panel(tiles, ["", "right"])
    assert sheet.height > plain.height
    assert sheet.crop((0, 0, sheet.width, 330)).tobytes() == plain.crop((0, 0, plain.width, 330)).tobytes()
    assert _ink(sheet, (0, 336, sheet.width // 2, sheet.height)) == 0
    assert _ink(sheet, (sheet.width // 2, 336, sheet.width, sheet.height)) > 100
    titled = panel(tiles, title="Where it looked")
    assert titled.height > plain.height
    assert _ink(titled, (0, 0, titled.width, titled.height - plain.height)) > 100


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 20, 24)])
def test_letters_can_be_read_on_any_ground(background):
    sheet = panel([Image.new("RGB", (320, 320), background)], ["caption"], background=background, title="title")
    assert sheet.getpixel((0, 0)) == background
    assert _ink(sheet, (0, 370, sheet.width, sheet.height)) > 100


@pytest.mark.parametrize(
    "caption",
    [
        "make it red",
        "Überraschung ñandú Ελληνικά Привет 日本語 \U0001f642",
        "مرحبا",
        "a\nb\tc",
        "x" * 5000,
        "w " * 3000,
        " ",
    ],
)
def test_captions_of_any_text(caption):
    tile = Image.new("RGB", (320, 320), "white")
    sheet = panel([tile, tile], [caption, "short"], title=caption)
    assert sheet.width == panel([tile, tile]).width
    assert sheet.height < 600
    assert _ink(sheet, (0, 0, 5, sheet.height)) == 0
    assert _ink(sheet, (sheet.width - 5, 0, sheet.width, sheet.height)) == 0


def test_panel_takes_what_the_others_give(photo, heat):
    tiles = [photo, blend(photo, heat), torch.rand(3, 8, 8), colorize(heat), Image.new("L", (5, 5))]
    assert panel(tiles, ["a", "b", "c", "d", "e"]).height > 320


@pytest.mark.parametrize(
    ("tiles", "captions", "message"),
    [
        ([], None, "a panel needs tiles and a caption for each: 0 tiles, 0 captions"),
        ([np.zeros((2, 2, 3), np.uint8)], ["a", "b"], "1 tiles, 2 captions"),
    ],
)
def test_panel_without_tiles_or_captions(tiles, captions, message):
    with pytest.raises(InputError, match=message):
        panel(tiles, captions)


def test_panel_height_must_be_positive():
    with pytest.raises(InputError, match="height must be positive, not 0"):
        panel([np.zeros((2, 2, 3), np.uint8)], height=0)


def test_colorbar():
    bar = np.asarray(colorbar("gray", 300)).astype(int)
    assert bar.shape == (30, 300, 3)
    strip = bar[15, 60:240, 0]
    assert (np.diff(strip) >= 0).all()
    assert np.ptp(strip) > 200
    assert (bar[0] == 255).all()
    with pytest.raises(InputError, match="a colorbar 20 pixels wide has no room between 'low' and 'high'"):
        colorbar(width=20)
