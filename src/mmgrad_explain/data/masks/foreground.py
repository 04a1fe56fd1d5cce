"""The object before an even background, by colour alone: product photographs, as FashionIQ and Shoes have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmgrad_explain.data.masks.same_scene import Floats, Pixels

_SIDE = 192  # longest side of the image that is looked at, pixels
_RIM = 0.03  # of the longest side
_EVEN = 0.6  # least share of the rim that has the background's colour
_NEAR, _FAR = 6.0, 18.0  # distances of colours, CIE L*a*b*: background up to the first, object from the second on
_LEAST, _MOST = 0.03, 0.85  # share of the image


def mark_foreground(pixels: Pixels) -> Floats | str:
    """Mark the object before an even background.

    The background's colour is the most frequent one of the rim. What has this colour and is connected to the rim is
    background.

    Args:
        pixels: ``(H, W, 3)`` RGB.

    Returns:
        A mask in [0, 1] over the whole image; or the reason why there is none.
    """
    import cv2

    ratio = min(1.0, _SIDE / max(pixels.shape[:2]))
    size = max(2, round(pixels.shape[1] * ratio)), max(2, round(pixels.shape[0] * ratio))
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    wide = max(1, round(_RIM * max(size)))
    inner = np.zeros(lab.shape[:2], bool)
    inner[wide:-wide, wide:-wide] = True
    rim = lab[~inner]
    bins, counts = np.unique(np.round(rim / 8), axis=0, return_counts=True)
    colour = np.median(rim[(np.abs(rim / 8 - bins[counts.argmax()]) <= 1).all(1)], axis=0)
    distance = np.linalg.norm(lab - colour, axis=-1)
    if (distance[~inner] < _FAR).mean() < _EVEN:
        return "the background is not even"
    soft = np.clip((distance - _NEAR) / (_FAR - _NEAR), 0, 1)
    _, parts = cv2.connectedComponents((soft < 1).astype(np.uint8), connectivity=4)
    outside = np.isin(parts, np.unique(parts[~inner & (soft < 1)]))
    mask = np.where(outside, soft, 1.0).astype(np.float32)
    mask = np.minimum(mask, cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    share = float((mask > 0.5).mean())
    if not _LEAST <= share <= _MOST:
        return "no object stands out from the background"
    return np.asarray(mask, np.float32)
