"""Triplets of pictures as an evaluation takes them: from a triplet set on disk, or from a training source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.data.triplets import read_pixels, read_triplets
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.batches.batch import PictureBatch


@dataclass(frozen=True, eq=False)
class PhotoTriplet:
    """A picture, what is asked for, the picture it leads to, and where the edit is.

    Attributes:
        id: Its name.
        reference: A path as :func:`~mmgrad_explain.data.triplets.read_pixels` takes it, or anything else
            :func:`~mmgrad_explain.images.reading.open_image` takes.
        target: Likewise.
        text: What should change.
        mask: The edited region, ``(H, W)`` bool, in the pixels of the picture it is judged on.
        edit: The kind of edit.
        picture: Equal for triplets with the same reference picture.
        on_target: The region is to be seen in the target only (something was added).
    """

    id: str
    reference: Any
    target: Any
    text: str
    mask: np.ndarray
    edit: str
    picture: str
    on_target: bool = False


def folder_triplets(folder: Path, *, fold: int | None = None) -> list[PhotoTriplet]:
    """The triplets of a set that :mod:`mmgrad_explain.data.triplets` reads; pictures are opened when needed.

    Raises:
        InputError: If the set or a mask cannot be read, or there is nothing in it.
    """
    found = [
        PhotoTriplet(
            id=one.id,
            reference=one.folder / one.reference,
            target=one.folder / one.target,
            text=one.text,
            mask=read_pixels(one.folder / one.mask, mask=True),
            edit=one.edit,
            picture=one.reference,
            on_target=one.mask_object_in == "target",
        )
        for one in read_triplets(folder, fold=fold)
    ]
    if not found:
        raise InputError(f"{folder} holds no triplets")
    return found


def batch_triplets(batch: PictureBatch) -> list[PhotoTriplet]:
    """The supervised edits of a training source's batch, as triplets in memory."""
    return [
        PhotoTriplet(
            id=str(i),
            reference=batch.references[batch.picture[i]],
            target=batch.targets[i],
            text=batch.texts[i],
            mask=batch.target_masks[i] if batch.edits[i] == "add" else batch.reference_masks[i],
            edit=batch.edits[i],
            picture=str(batch.picture[i]),
            on_target=batch.edits[i] == "add",
        )
        for i in np.flatnonzero(batch.supervised).tolist()
    ]
