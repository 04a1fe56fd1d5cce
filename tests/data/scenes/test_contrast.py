"""Pairs of triplets with disjoint regions."""

import numpy as np

from mmgrad_explain.data.scenes.contrast import find_contrast_partners


def test_partners_keep_two_pixels_apart():
    masks = np.zeros((4, 12, 12), dtype=bool)
    masks[0, 2:4, 2:4] = True
    masks[1, 2:4, 5:7] = True  # one pixel beside the first
    masks[2, 2:4, 6:8] = True  # two pixels beside the first
    masks[3, 0:2, 2:4] = True  # touches the first
    kinds = ["remove"] * 4
    assert find_contrast_partners(masks[:2], masks[:2], kinds[:2]) == [-1, -1]
    assert find_contrast_partners(masks[[0, 2]], masks[[0, 2]], kinds[:2]) == [1, 0]
    assert find_contrast_partners(masks, masks, kinds) == [2, -1, 3, 2]
    moved = masks[[0, 2]].copy()
    moved[1] = masks[0]  # the second object goes where the first is
    assert find_contrast_partners(masks[[0, 2]], moved, kinds[:2]) == [-1, -1]
    assert find_contrast_partners(masks[[0, 2, 3]], masks[[0, 2, 3]], ["remove", "add", "recolour"]) == [-1, -1, -1]
    assert find_contrast_partners(masks[:1], masks[:1], kinds[:1]) == [-1]
