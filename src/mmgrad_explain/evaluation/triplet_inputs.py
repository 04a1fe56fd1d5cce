"""Triplets for an evaluation, read from a triplet set on disk or taken from a batch of a training source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.data.triplets import read_pixels, read_triplets
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.batches.batch import ImageBatch


@dataclass(frozen=True, eq=False)
class PhotoTriplet:
    """A reference image, a modifier text, the target image, and the region of the edit.

    Attributes:
        id: Name of the triplet.
        reference: A path for :func:`~mmgrad_explain.data.triplets.read_pixels`, or anything else that
            :func:`~mmgrad_explain.images.reading.open_image` takes.
        target: Likewise.
        text: What should change.
        mask: The edited region, ``(H, W)`` bool, in the pixels of the image that the map is measured on.
        edit: The kind of edit.
        reference_name: Name of the reference image, equal for triplets with the same one.
        on_target: Whether the map is measured on the target: something was added, which only the target shows.
    """

    id: str
    reference: Any
    target: Any
    text: str
    mask: np.ndarray
    edit: str
    reference_name: str
    on_target: bool = False


def folder_triplets(folder: Path, *, fold: int | None = None) -> list[PhotoTriplet]:
    """Read the triplets of a set on disk (:mod:`mmgrad_explain.data.triplets`); images are opened when needed.

    Args:
        folder: The set.
        fold: Only this part of the set; all when None.

    Raises:
        InputError: The set or a mask cannot be read, or it holds no triplets.
    """
    found = [
        PhotoTriplet(
            id=triplet.id,
            reference=triplet.folder / triplet.reference,
            target=triplet.folder / triplet.target,
            text=triplet.text,
            mask=read_pixels(triplet.folder / triplet.mask, mask=True),
            edit=triplet.edit,
            reference_name=triplet.reference,
            on_target=triplet.mask_object_in == "target",
        )
        for triplet in read_triplets(folder, fold=fold)
    ]
    if not found:
        raise InputError(f"{folder} holds no triplets")
    return found


def batch_triplets(batch: ImageBatch) -> list[PhotoTriplet]:
    """Take the supervised edits of a training source's batch, as triplets in memory."""
    return [
        PhotoTriplet(
            id=str(i),
            reference=batch.references[batch.picture[i]],
            target=batch.targets[i],
            text=batch.texts[i],
            mask=batch.target_masks[i] if is_on_target_only(batch.edits[i]) else batch.reference_masks[i],
            edit=batch.edits[i],
            reference_name=str(batch.picture[i]),
            on_target=is_on_target_only(batch.edits[i]),
        )
        for i in np.flatnonzero(batch.supervised).tolist()
    ]
