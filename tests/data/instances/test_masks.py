"""Masks in the forms of annotation files: run lengths and polygons."""

import numpy as np
import pytest

from mmgrad_explain.data.instances.masks import (
    decode_counts,
    decode_segmentation,
    decompress_counts,
    fill_polygons,
)
from mmgrad_explain.errors import InputError

H, W = 9, 7


def example():
    mask = np.zeros((H, W), bool)
    mask[2:6, 1:5] = True
    mask[4, 2] = False
    mask[8, 6] = True
    return mask


COMPRESSED = ";45NLO4300?M"  # the example, as COCO's own tools write it


COUNTS = [11, 4, 5, 2, 1, 1, 5, 4, 5, 4, 20, 1]


@pytest.mark.parametrize("counts", [COUNTS, COMPRESSED, COMPRESSED.encode()])
def test_run_lengths(counts):
    mask = decode_segmentation({"size": [H, W], "counts": counts}, H, W)
    assert mask.dtype == np.bool_
    assert (mask == example()).all()
    assert decompress_counts(COMPRESSED) == COUNTS


def compress(counts):
    """COCO's compressed run lengths, written the other way round than they are read."""
    text = []
    for i, count in enumerate(counts):
        rest, more = count - counts[i - 2] if i > 2 else count, True
        while more:
            bits = rest & 31
            rest >>= 5
            more = rest != (-1 if bits & 16 else 0)
            text.append(chr(bits + 32 * more + 48))
    return "".join(text)


def test_any_mask_comes_back_from_its_run_lengths():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 40, 2)
        mask = rng.random((height, width)) < rng.random() ** 3
        flat = np.concatenate([[False], mask.T.ravel()])
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
        assert (decode_counts(counts, height, width) == mask).all()
        assert decompress_counts(compress(counts)) == counts
    assert compress(COUNTS) == COMPRESSED


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [3, 3], "counts": COUNTS}, r"its run lengths are for \[3, 3\] pixels, its image has \[9, 7\]"),
        ({"size": [H, W]}, "its run lengths have no counts"),
        ({"counts": [1, 2]}, "its run lengths do not add up to 9 x 7 pixels"),
        ({"counts": [-1, 64]}, "its run lengths do not add up"),
        ({"counts": [[1], [2]]}, "its run lengths do not add up"),
        ({"counts": ["many"]}, "its run lengths are not whole numbers"),
        ({"counts": ";45NLO4300?Mé"}, "its run lengths hold the character"),
        ({"counts": "Z"}, "its run lengths break off"),
        (None, "its segmentation is neither polygons nor run lengths"),
        ([], "its segmentation is neither"),
        ("polygon", "its segmentation is neither"),
        ([[1, 2, 3, 4]], "a polygon is not a list of at least three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon is not a list of at least three points"),
        ([[1, 2, 3, 4, 5, float("nan")]], "a polygon is not a list of at least three points"),
        ([["a", "b"]], "a polygon holds something else than numbers"),
    ],
)
def test_damaged_segmentations_are_reported(segmentation, message):
    with pytest.raises(InputError, match=message):
        decode_segmentation(segmentation, H, W)


def test_polygons_cover_the_pixels_whose_centres_they_hold():
    square = fill_polygons([[1, 2, 5, 2, 5, 6, 1, 6]], H, W)
    assert square.sum() == 16
    assert square[2:6, 1:5].all()
    shifted = fill_polygons([[1.4, 2.4, 5.4, 2.4, 5.4, 6.4, 1.4, 6.4]], H, W)
    assert (shifted == square).all()
    two = fill_polygons([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]], H, W)
    assert two.sum() == 7
    assert fill_polygons([[-5, -5, 50, -5, 50, 50, -5, 50]], H, W).all()
    assert not fill_polygons([[20, 20, 30, 20, 30, 30]], H, W).any()


def test_polygons_have_the_right_area_whatever_their_shape():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.random(7)) * 2 * np.pi
        x, y = 60 + 40 * rng.random() * np.cos(angles), 50 + 40 * rng.random() * np.sin(angles)
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        mask = fill_polygons([np.stack([x, y], 1).ravel().tolist()], 100, 120)
        assert abs(mask.sum() - area) < 0.02 * area + 15
