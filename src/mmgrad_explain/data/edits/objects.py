"""Finds the objects of a photograph that can be edited, with their phrases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.edits.masks import dilate_mask
from mmgrad_explain.data.edits.nouns import make_noun
from mmgrad_explain.data.edits.text import Spot, find_phrase, find_phrase_for_all

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.instances.masks import Mask
    from mmgrad_explain.data.instances.records import Instance

    _Pixels = npt.NDArray[np.uint8]

_LEAST_PIXELS = 100  # of an object
_LEAST_CORE = 0.35  # of the mask must be left once a pixel is taken off all around


@dataclass(frozen=True)
class EditObject:
    """What an edit changes and its phrase names: one instance, or all instances of a class.

    Attributes:
        noun: The noun for the class.
        class_name: The class as the data set writes it.
        spots: All instances of the class in the image.
        index: Of this instance; None for all of them.
        mask: (H, W) bool.
        is_thing: Whether instances can be counted.
        contact: Share of the outline that touches other objects or the image's edge, 0 to 1.
    """

    noun: str
    class_name: str
    spots: tuple[Spot, ...]
    index: int | None
    mask: Mask
    is_thing: bool
    contact: float

    def name(self, rng: np.random.Generator) -> tuple[str, str] | None:
        """Find an unambiguous phrase, and its qualifier; None if there is none."""
        if self.index is None:
            return find_phrase_for_all(rng, self.noun, len(self.spots)), "all"
        return find_phrase(rng, self.noun, self.spots, self.index)


def shrink_to_size(image: _Pixels, instances: Sequence[Instance], size: int) -> tuple[_Pixels, list[Mask]]:
    """Shrink a photograph and its masks to a longest side, by averaging; smaller ones stay as they are."""
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return image, [instance.mask for instance in instances]
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA))
    return small, [
        np.asarray(cv2.resize(i.mask.astype(np.uint8) * np.uint8(255), shape, interpolation=cv2.INTER_AREA) >= 128)
        for i in instances
    ]


def find_objects(
    instances: Sequence[Instance],
    masks: Sequence[Mask],
    skipped: Counter[str],
    *,
    min_area: float = 0.0,
    max_area: float = 1.0,
) -> list[EditObject]:
    """Find the objects that are fit to be edited.

    Args:
        instances: Of one photograph.
        masks: Their masks, at the size of the edits.
        skipped: Counts the reasons why objects are left out; updated in place.
        min_area: Smallest share of the image, 0 to 1.
        max_area: Largest share.
    """
    everything = np.sum(masks, axis=0, dtype=np.int32) if masks else np.zeros((1, 1), np.int32)
    groups: dict[str, list[int]] = {}
    for i, instance in enumerate(instances):
        if instance.editable:
            groups.setdefault(make_noun(instance.class_name), []).append(i)
    found: list[EditObject] = []
    for noun, group in sorted(groups.items()):
        if any(instances[i].is_crowd for i in group):
            skipped["object of a class with a crowd in the picture"] += len(group)
            continue
        members = [i for i in group if masks[i].any()]
        spots = tuple(_spot(masks[i]) for i in members)
        candidates: list[tuple[int | None, Mask]] = [(n, masks[i]) for n, i in enumerate(members)]
        if len(members) > 1:
            candidates.append((None, np.any([masks[i] for i in members], axis=0)))
        for index, mask in candidates:
            reason = _unfit(mask, min_area, max_area)
            if reason:
                skipped[reason] += index is not None
                continue
            first = instances[members[0]]
            others = (everything - mask) > 0
            found.append(EditObject(noun, first.class_name, spots, index, mask, first.is_thing, _contact(mask, others)))
    return found


def _spot(mask: Mask) -> Spot:
    rows, columns = np.nonzero(mask)
    return Spot(float(columns.mean() + 0.5) / mask.shape[1], float(rows.mean() + 0.5) / mask.shape[0], float(len(rows)))


def _unfit(mask: Mask, min_area: float, max_area: float) -> str:
    import cv2

    area = int(np.count_nonzero(mask))
    if area < max(min_area * mask.size, _LEAST_PIXELS):
        return "object too small"
    if area > max_area * mask.size:
        return "object too large"
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return "object too thin" if np.count_nonzero(core) < _LEAST_CORE * area else ""


def _contact(mask: Mask, others: Mask) -> float:
    """Measure the share of the outline that touches other objects or the image's edge."""
    padded = np.pad(mask, 1)
    outline = dilate_mask(padded, 1) & ~padded
    blocked = np.pad(others, 1, constant_values=True)
    return float((outline & blocked).sum() / max(outline.sum(), 1))
