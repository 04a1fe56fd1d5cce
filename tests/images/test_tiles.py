"""How large pictures are drawn."""

import pytest
from PIL import Image

from mmgrad_explain.images.tiles import fit_size, shrink, tile_height


@pytest.mark.parametrize(("heights", "height"), [((100,), 320), ((400, 700), 700), ((400, 2000), 1024)])
def test_tiles_are_as_high_as_the_tallest_picture_within_bounds(heights, height):
    pictures = [Image.new("RGB", (50, one)) for one in heights]
    assert tile_height(pictures) == height
    assert tile_height(pictures, 300) == 300


@pytest.mark.parametrize(
    ("size", "box", "filled"),
    [((40, 20), (80, 80), (80, 40)), ((20, 40), (80, 80), (40, 80)), ((500, 1), (50, 9), (50, 1))],
)
def test_a_picture_fills_a_box_as_far_as_its_shape_allows(size, box, filled):
    assert fit_size(Image.new("RGB", size), *box) == filled


def test_only_what_is_too_large_is_made_smaller():
    picture = Image.new("RGB", (60, 30), "red")
    assert shrink(picture, 60, 30) is picture
    assert shrink(picture, 100, 100) is picture
    for box, size in (((30, 30), (30, 15)), ((60, 10), (20, 10))):
        small = shrink(picture, *box)
        assert small.size == size
        assert small.getpixel((0, 0)) == (255, 0, 0)
