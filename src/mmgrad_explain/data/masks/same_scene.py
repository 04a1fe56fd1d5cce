"""Tell whether two images are one photograph, before and after a change, and lay one over the other.

Two images are of one photograph if their textures agree in most places: the correlation of grey values, block by block,
of the blocks that have a texture in either image. Where they are shifted, turned or scaled against each other, points
are matched first (SIFT, Lowe, IJCV 2004; RANSAC, Fischler & Bolles, CACM 1981), and the agreement is checked on the
aligned images all the same: matched points alone would take two photographs of one product for the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels: TypeAlias = npt.NDArray[np.uint8]
    Floats: TypeAlias = npt.NDArray[np.float32]

SIDE = 256
"""Longest side of the images that are compared, in pixels."""
AGREEMENT = 0.45
"""Least share of the textured blocks that agree."""

_BLOCK = 16  # pixels
_TEXTURE = 6.0  # standard deviation of grey values
_CORRELATION = 0.8
_FEWEST_BLOCKS = 16
_FEWEST_POINTS = 15
_RATIO = 0.75  # of the distances to the nearest and to the second nearest descriptor


@dataclass(frozen=True)
class Overlay:
    """A target laid over its reference.

    Attributes:
        reference: ``(h, w, 3)``, :data:`SIDE` pixels long.
        target: The target in the reference's frame, likewise.
        seen: Where the target shows something in that frame, ``(h, w)`` bool.
        to_target: Matrix ``(2, 3)`` from pixels of ``reference`` to those of a target of ``target_size``.
        target_size: Height and width of the target that ``to_target`` leads to.
    """

    reference: Pixels
    target: Pixels
    seen: npt.NDArray[np.bool_]
    to_target: npt.NDArray[np.float64]
    target_size: tuple[int, int]


def overlay_target(reference: Pixels, target: Pixels) -> Overlay | None:
    """Lay a target over its reference.

    Args:
        reference: ``(H, W, 3)`` RGB.
        target: Likewise, of any size.

    Returns:
        The two in one frame; None where they are different photographs.
    """
    before, after = _scale(reference), _scale(target)
    size = before.shape[0], before.shape[1]
    scale = after.shape[1] / size[1], after.shape[0] / size[0]
    direct = np.array([[scale[0], 0, 0], [0, scale[1], 0]])
    if 0.95 < scale[0] / scale[1] < 1.05 and (laid := _lay(before, after, direct)) is not None:
        return laid
    matched = _match(before, after)
    return None if matched is None else _lay(before, after, matched)


def measure_agreement(before: Pixels, after: Pixels, seen: npt.NDArray[np.bool_]) -> float:
    """Measure in which share of the textured blocks two images of one size correlate; 0 with too few such blocks."""
    import cv2

    grey = [_blocks(cv2.GaussianBlur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)) for one in (before, after)]
    there = _blocks(seen.astype(np.float32)).min(1) > 0
    deviations = [one - one.mean(1, keepdims=True) for one in grey]
    spreads = [np.sqrt(np.square(one).mean(1)) for one in deviations]
    textured = there & (np.maximum(*spreads) > _TEXTURE)
    if textured.sum() < _FEWEST_BLOCKS:
        return 0.0
    product = (deviations[0] * deviations[1]).mean(1) / np.maximum(spreads[0] * spreads[1], 1e-6)
    return float((product[textured] > _CORRELATION).mean())


def _scale(pixels: Pixels) -> Pixels:
    import cv2

    ratio = SIDE / max(pixels.shape[:2])
    size = max(_BLOCK, round(pixels.shape[1] * ratio)), max(_BLOCK, round(pixels.shape[0] * ratio))
    way = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=way), np.uint8)


def _lay(before: Pixels, after: Pixels, move: npt.NDArray[np.float64]) -> Overlay | None:
    """Lay the target over the reference by a move; None where too few blocks agree then."""
    import cv2

    size = before.shape[1], before.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(after, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones(after.shape[:2], np.float32), move, size, flags=flags)
    found = Overlay(before, np.asarray(laid, np.uint8), inside > 0.99, move, (after.shape[0], after.shape[1]))
    return found if measure_agreement(before, found.target, found.seen) >= AGREEMENT else None


def _match(before: Pixels, after: Pixels) -> npt.NDArray[np.float64] | None:
    """Find the move, turn and scale from the reference to the target by their points; None without enough of them."""
    import cv2

    finder = cv2.SIFT_create(nfeatures=600)  # type: ignore[attr-defined]
    points, descriptions = zip(*(finder.detectAndCompute(one, None) for one in (before, after)), strict=True)
    if any(one is None or len(one) < _FEWEST_POINTS for one in descriptions):
        return None
    pairs = cv2.BFMatcher().knnMatch(descriptions[0], descriptions[1], k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    if len(good) < _FEWEST_POINTS:
        return None
    here = np.array([points[0][match.queryIdx].pt for match in good], np.float32)
    there = np.array([points[1][match.trainIdx].pt for match in good], np.float32)
    cv2.setRNGSeed(0)
    move, right = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=3)
    if move is None or right.sum() < _FEWEST_POINTS:
        return None
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    return np.asarray(move, np.float64) if 0.4 < scale < 2.5 else None


def _blocks(values: Floats | Pixels) -> Floats:
    """Cut an image into blocks, ``(n, _BLOCK * _BLOCK)``; what is left at the right and lower border is left out."""
    rows, columns = (n // _BLOCK for n in values.shape[:2])
    cut = values[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return np.asarray(cut.swapaxes(1, 2).reshape(rows * columns, -1), np.float32)
