"""The object before an even background."""

import numpy as np

from mmgrad_explain.data.masks.foreground import mark_foreground


def test_the_object_is_marked_with_what_it_encloses(photo):
    pixels = np.full((120, 100, 3), 250, np.uint8)
    pixels[20:100, 30:70] = (40, 60, 160)
    pixels[50:60, 40:50] = 250
    mask = mark_foreground(pixels)
    assert np.array_equal(mask[22:98, 32:68] > 0.5, np.ones((76, 36), bool))
    assert mask[:18].max() == mask[:, :28].max() == 0
    assert mark_foreground(photo) == "the background is not even"
    assert mark_foreground(np.full((50, 50, 3), 200, np.uint8)) == "no object stands out from the background"
