"""Where one photograph was changed: the difference of the colours and textures of a reference and its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.masks.same_scene import overlay_target

if TYPE_CHECKING:
    from mmgrad_explain.data.masks.same_scene import Floats, Pixels

LEAST = 6.0
"""Smallest difference of a cell that counts as a change, in units of CIE L*a*b*."""
MOST = 0.6
"""Largest share of the cells that may be changed; more is another image."""

_CELL = 4  # pixels


def mark_difference(reference: Pixels, target: Pixels) -> tuple[Floats, Floats] | str:
    """Mark where a photograph and its changed copy differ.

    The value of a cell is the distance of the mean colours plus the difference of their spreads, less the median over
    the image, and 1 from the brightest 0.5 % of the cells on.

    Args:
        reference: ``(H, W, 3)`` RGB.
        target: Likewise, of any size.

    Returns:
        Masks of reference and target in [0, 1], each over its whole image; or the reason why there are none. Two
        different photographs have none: they differ everywhere, whatever the text says.
    """
    import cv2

    laid = overlay_target(reference, target)
    if laid is None:
        return "reference and target are different photographs"
    size = max(1, laid.seen.shape[1] // _CELL), max(1, laid.seen.shape[0] // _CELL)
    looks = [_looks(one, size) for one in (laid.reference, laid.target)]
    shift = np.median(looks[1] - looks[0], axis=(0, 1), keepdims=True)
    apart = looks[1] - looks[0] - shift
    distance = np.linalg.norm(apart[..., :3], axis=-1) + np.abs(apart[..., 3])
    distance *= cv2.resize(laid.seen.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    low, high = np.median(distance), np.quantile(distance, 0.995)
    if high - low < LEAST:
        return "reference and target hardly differ"
    soft = np.clip((distance - low) / (high - low), 0, 1).astype(np.float32)
    if (soft > 0.5).mean() > MOST:
        return "reference and target differ nearly everywhere"
    whole = cv2.resize(soft, laid.seen.shape[::-1], interpolation=cv2.INTER_LINEAR)
    height, width = laid.target_size
    return np.asarray(whole, np.float32), np.asarray(cv2.warpAffine(whole, laid.to_target, (width, height)), np.float32)


def _looks(pixels: Pixels, size: tuple[int, int]) -> Floats:
    """Compute the mean colour (L*a*b*) and the spread of L* of each cell, ``(h, w, 4)``."""
    import cv2

    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    squares = cv2.resize(np.square(lab[..., 0]), size, interpolation=cv2.INTER_AREA)
    spread = np.sqrt(np.maximum(squares - np.square(mean[..., 0]), 0))
    return np.asarray(np.concatenate([mean, spread[..., None]], -1), np.float32)
