"""Long images get black bars towards a ratio, and their placement is that of the image without them."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement, fit
from mmgrad_explain.images.ratio_padding import bars, check_ratio, pad_to_ratio, place_padded


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (0, 0)), ((100, 124), (0, 0)), ((100, 125), (0, 0)), ((100, 200), (30, 0)), ((303, 100), (0, 71)),
        ((1, 50), (19, 0)),
    ],
)  # fmt: skip
def test_bars_bring_the_short_side_to_the_long_one_over_the_ratio(size, expected):
    assert bars(size, 1.25) == expected
    image = Image.new("RGB", size[::-1], "white")
    padded = np.asarray(pad_to_ratio(image, 1.25))
    inside = padded[expected[0] : expected[0] + size[0], expected[1] : expected[1] + size[1]]
    assert padded.shape[:2] == (size[0] + 2 * expected[0], size[1] + 2 * expected[1])
    assert inside.min() == 255
    assert padded.sum() == inside.sum(dtype=int)
    assert (pad_to_ratio(image, 1.25) is image) == (expected == (0, 0))


@pytest.mark.parametrize("size", [(60, 200), (200, 60), (100, 110)])
def test_a_marked_place_comes_back_to_the_image(size):
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[20:40, 30:50] = 255
    padded = pad_to_ratio(Image.fromarray(pixels), 1.25)
    fitted, placed = fit(padded, 64, mode="crop")
    placement = place_padded(size, 1.25, placed)
    found = placement.to_original(np.asarray(fitted, np.float32)[..., 0] / 255)
    assert found.shape == size
    seen = placement.seen()
    assert np.abs(found - pixels[..., 0] / 255.0)[seen].mean() < 0.06
    assert 0.7 < seen.mean() <= 1
    mask = placement.to_input(np.ones(size, np.float32))
    shown = np.asarray(fit(pad_to_ratio(Image.new("RGB", size[::-1], "white"), 1.25), 64, mode="crop")[0])[..., 0] / 255
    assert np.abs(mask - shown).mean() < 0.01  # the bars are no part of the image


def test_a_window_moves_with_the_image_and_other_sizes_are_refused():
    padded = Placement((160, 200), (64, 64), (0.4, 0.4), (0.0, -8.0), ((10.0, 150.0), (20.0, 180.0)))
    assert place_padded((100, 200), 1.25, padded).window == ((0.0, 100.0), (20.0, 180.0))
    with pytest.raises(InputError, match=r"an image of 90 x 200 pixels is 160 x 200 when .* is of one of 100 x 200"):
        place_padded((90, 200), 1.25, Placement((100, 200), (64, 64), (1.0, 1.0), (0.0, 0.0)))


@pytest.mark.parametrize("ratio", [0.5, "1.25", True, float("nan"), float("inf")])
def test_a_ratio_is_a_number_of_at_least_one(ratio):
    with pytest.raises(InputError, match="pad_ratio is the ratio of the longer to the shorter side, at least 1, not"):
        check_ratio(ratio)
