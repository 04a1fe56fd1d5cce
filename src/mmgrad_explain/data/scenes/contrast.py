"""Finds pairs of a scene's triplets whose edited regions do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.edit_sides import is_on_target_only

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_contrast_pairs(reference_masks: np.ndarray, target_masks: np.ndarray, edits: Sequence[str]) -> np.ndarray:
    """Find the pairs of a scene's triplets whose edited regions do not overlap.

    The region of a triplet is the union of its masks in reference and target. The regions of a pair must stay disjoint
    when one is dilated by two pixels. ``add`` is in no pair: its object is not in the reference.

    Args:
        reference_masks: Edited regions in the reference, ``(E, H, W)`` bool.
        target_masks: Edited regions in the targets, ``(E, H, W)`` bool.
        edits: The kinds of edit, ``E``.

    Returns:
        ``(E, E)`` bool, symmetric.
    """
    places = reference_masks | target_masks
    wide = np.pad(places, ((0, 0), (2, 2), (2, 2)))
    for axis in (1, 2):
        parts = [(slice(None),) * axis + (slice(i, wide.shape[axis] - 4 + i),) for i in range(5)]
        wide = np.logical_or.reduce([wide[part] for part in parts])
    count = len(edits)
    shared = wide.reshape(count, -1).astype(np.float32) @ places.reshape(count, -1).T.astype(np.float32)
    there = np.array([not is_on_target_only(edit) for edit in edits])
    out: np.ndarray = (shared == 0) & there[:, None] & there[None]
    return out


def find_contrast_partners(reference_masks: np.ndarray, target_masks: np.ndarray, edits: Sequence[str]) -> list[int]:
    """Find for each triplet of a scene another one with a disjoint region (see :func:`find_contrast_pairs`).

    Args:
        reference_masks: Edited regions in the reference, ``(E, H, W)`` bool.
        target_masks: Edited regions in the targets, ``(E, H, W)`` bool.
        edits: The kinds of edit, ``E``.

    Returns:
        For each triplet the index of the next such triplet, in cyclic order; -1 where there is none.
    """
    count = len(edits)
    fits = find_contrast_pairs(reference_masks, target_masks, edits)
    circles = [[(index + step) % count for step in range(1, count)] for index in range(count)]
    return [next((other for other in circle if fits[index, other]), -1) for index, circle in enumerate(circles)]
