"""Decodes the masks of annotation files: polygons, run lengths, identifiers as colours.

The formats are COCO's: run lengths go down the columns and begin with zeros; a compressed run-length string has five
bits a character, the lowest first, and from the third count on it holds the difference to the count before the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask: TypeAlias = npt.NDArray[np.bool_]

_FIRST_CHARACTER = 48  # "0" holds the value 0
_LAST_CHARACTER = 111  # "o" holds 63


def decode_segmentation(segmentation: object, height: int, width: int) -> Mask:
    """Decode a COCO ``segmentation`` of any form.

    Args:
        segmentation: A list of polygons, or a mapping with ``size`` and ``counts`` (a list, or a compressed string).
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        (height, width) bool.

    Raises:
        InputError: It has none of these forms, or does not fit the image.
    """
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size is not None and list(size) != [height, width]:
            raise InputError(f"its run lengths are for {size} pixels, its image has {[height, width]}")
        if isinstance(counts, str | bytes):
            counts = decompress_counts(counts)
        if not isinstance(counts, Sequence):
            raise InputError("its run lengths have no counts")
        return decode_counts(counts, height, width)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not segmentation:
        raise InputError("its segmentation is neither polygons nor run lengths")
    return fill_polygons(segmentation, height, width)


def decompress_counts(text: str | bytes) -> list[int]:
    """Decode a compressed string of run lengths.

    Raises:
        InputError: It breaks off, or holds other characters.
    """
    counts: list[int] = []
    value = shift = 0
    more = False
    for code in text.encode() if isinstance(text, str) else text:
        if not _FIRST_CHARACTER <= code <= _LAST_CHARACTER:
            raise InputError(f"its run lengths hold the character {chr(code)!r}")
        bits = code - _FIRST_CHARACTER
        value |= (bits & 31) << shift
        shift += 5
        more = bool(bits & 32)
        if not more:
            if bits & 16:  # the highest bit says that the number is negative
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if more:
        raise InputError("its run lengths break off")
    return counts


def decode_counts(counts: Sequence[Any], height: int, width: int) -> Mask:
    """Decode run lengths, which go down the columns and begin with zeros, to a mask (height, width)."""
    try:
        runs = np.asarray(counts, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("its run lengths are not whole numbers") from error
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise InputError(f"its run lengths do not add up to {height} x {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def fill_polygons(polygons: Sequence[Any], height: int, width: int) -> Mask:
    """Draw a mask of the pixels with centres inside any of the polygons.

    Args:
        polygons: Each a flat list x0, y0, x1, y1, ... in pixels, where pixel ``i`` covers ``[i, i + 1)``. A polygon
            that crosses itself counts by the even-odd rule.
        height: Of the image.
        width: Of the image.

    Returns:
        (height, width) bool.

    Raises:
        InputError: A polygon has less than three points, or holds something else than finite numbers.
    """
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        try:
            flat = np.asarray(polygon, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("a polygon holds something else than numbers") from error
        if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2 or not np.isfinite(flat).all():
            raise InputError("a polygon is not a list of at least three points x, y")
        mask |= _inside(flat.reshape(-1, 2), height, width)
    return mask


def _inside(points: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    """Mark the pixels inside a polygon: each edge flips all pixels to its right in the rows that it crosses."""
    flips = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(max(math.ceil(low - 0.5), 0), min(math.ceil(high - 0.5), height))
        if len(rows):
            crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            np.add.at(flips, (rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(flips, 1)[:, :width] % 2, bool)


def colour_ids(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Compute the identifiers of a panoptic image (H, W, 3): red + 256 green + 65536 blue."""
    parts = pixels.astype(np.uint32)
    return np.asarray(parts[..., 0] + 256 * parts[..., 1] + 65536 * parts[..., 2], np.uint32)
