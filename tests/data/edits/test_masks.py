"""Masks as the edits use them."""

import numpy as np

from mmgrad_explain.data.edits.masks import dilate_mask, find_removal_margin


def test_margin_grows_with_the_object():
    small, large = np.zeros((300, 300), bool), np.ones((300, 300), bool)
    small[:5, :5] = True
    assert (find_removal_margin(small), find_removal_margin(large)) == (2, 8)
    assert (dilate_mask(small, 0) == small).all()
