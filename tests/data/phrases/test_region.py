"""Regions: boxes, segmentations, mask files, their unions, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.phrases import Box, MaskFile, Region, Segmentation
from mmgrad_explain.errors import InputError


def drawn(mask):
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1, int(mask.sum())


def test_a_box_holds_the_pixels_with_centres_inside():
    assert drawn(Box(2, 3, 5, 4).draw(10, 10)) == (3, 4, 2, 5, 3)
    assert drawn(Box(1.6, 0, 3.4, 1).draw(10, 10)) == (0, 1, 2, 3, 1)
    assert drawn(Box(0.5, 0.25, 1, 0.5, shares=True).draw(8, 10)) == (2, 4, 5, 10, 10)


def test_a_box_beyond_the_edge_is_cut_and_a_thin_one_has_a_pixel():
    assert drawn(Box(-5, 8, 3, 99).draw(10, 10)) == (8, 10, 0, 3, 6)
    assert drawn(Box(3.1, 3.1, 3.2, 3.2).draw(10, 10)) == (3, 4, 3, 4, 1)


@pytest.mark.parametrize("values", [[1, 2, 3], ["a", 1, 1, 1], [1, 1, 0, 5], [0, 0, float("nan"), 1], None, [None] * 4])
def test_boxes_that_are_none(values):
    with pytest.raises(InputError, match="its box"):
        Box.from_values(values, size=True)


def test_shapes_are_joined(tmp_path):
    mask = np.zeros((10, 10), np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    polygon = Segmentation([[4, 4, 6, 4, 6, 6, 4, 6]])
    region = Region((Box(0, 9, 1, 10), polygon, MaskFile(tmp_path / "mask.png")), size=(10, 10))
    found = region.draw(10, 10)
    assert int(found.sum()) == 1 + 4 + 1
    assert found[9, 0]
    assert found[0, 0]
    assert found[5, 5]


def test_what_is_wrong_is_said(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="its image is 9 x 10 pixels, its annotations are for 10 x 10"):
        Region((Box(0, 0, 1, 1),), size=(10, 10)).draw(10, 9)
    with pytest.raises(InputError, match="its mask is 4 x 4 pixels, its image 10 x 10"):
        Region((MaskFile(tmp_path / "mask.png"),)).draw(10, 10)
    with pytest.raises(InputError, match="its region is empty"):
        Region((Box(20, 20, 30, 30),)).draw(10, 10)
    with pytest.raises(InputError, match="a polygon is not a list"):
        Region((Segmentation([[1, 2]]),)).draw(10, 10)
