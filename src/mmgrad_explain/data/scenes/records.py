"""Makes the records of a scene's triplets, with the colour differences between their images."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.data.edit_sides import find_object_side
from mmgrad_explain.data.scenes.contrast import find_contrast_pairs
from mmgrad_explain.data.scenes.text import find_qualifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.data.scenes.scene import Scene, SceneTriplet

    _Put = Callable[[str, str, np.ndarray], str]

DILATE = 4
"""How far beyond the masks the images may differ, in pixels: blur spreads a change that far."""

_CHANGED = 5.0  # CIE76; a difference that is clearly visible
_STEP = 4  # every fourth pixel of every fourth row
_AROUND = np.ones((2 * DILATE + 1, 2 * DILATE + 1), np.uint8)
_LAB = np.array([100 / 255, 1, 1], np.float32)  # from OpenCV's eight bits
_find_qualifier = lru_cache(4096)(find_qualifier)


def make_records(scene: Scene, index: int, put: _Put) -> list[dict[str, Any]]:
    """Make the records of a scene's triplets, and pass its images and masks to ``put``.

    Args:
        scene: As drawn.
        index: Its number in the series.
        put: Called with a folder (``references``, ``targets`` or ``masks``), a name that is unique there, and the
            pixels; returns the path for the record.

    Returns:
        One record for each triplet, as :meth:`~mmgrad_explain.data.triplets.Triplet.to_record` gives it.
    """
    ids = [f"{index:07d}_{number}_{triplet.edit}" for number, triplet in enumerate(scene.triplets)]
    reference = put("references", f"{index:07d}", scene.reference)
    before, after = (np.stack([getattr(t, f"{side}_mask") for t in scene.triplets]) for side in ("reference", "target"))
    fits = find_contrast_pairs(before, after, [triplet.edit for triplet in scene.triplets]).tolist()
    measured = _measure(scene, before | after)
    records = []
    for number, (name, triplet) in enumerate(zip(ids, scene.triplets, strict=True)):
        target = put("targets", name, triplet.target)
        mask = second = put("masks", name, triplet.reference_mask)
        if triplet.target_mask.tobytes() != triplet.reference_mask.tobytes():
            second = put("masks", f"{name}_target", triplet.target_mask)
        partners = [other for other, fit in zip(ids, fits[number], strict=True) if fit]
        names = (name, reference, target, mask, second)
        records.append(_record(scene, triplet, index, names, partners, measured[number]))
    return records


def _record(
    scene: Scene,
    triplet: SceneTriplet,
    index: int,
    names: tuple[str, str, str, str, str],
    partners: list[str],
    measured: tuple[float, float, float, float],
) -> dict[str, Any]:
    """Make the record that :class:`~mmgrad_explain.data.triplets.Triplet` would give, but faster."""
    import cv2

    name, reference, target, mask, second = names
    shapes = [thing.shape for thing in triplet.objects]
    size = len(scene.reference)
    return {
        "id": name,
        "reference": reference,
        "text": triplet.text,
        "target": target,
        "mask": mask,
        "class": " and ".join(shapes),
        "edit": triplet.edit,
        "detail": "",
        "phrase": triplet.subject,
        "qualifier": _find_qualifier(triplet.subject),
        "n_instances": max(1, [thing.shape for thing in scene.objects].count(shapes[0])),
        "isthing": True,
        "area_frac": round(np.count_nonzero(triplet.reference_mask) / size**2, 4),
        "bbox": list(cv2.boundingRect(triplet.reference_mask.view(np.uint8))),
        "width": size,
        "height": size,
        "dilate_px": DILATE,
        "mask_object_in": find_object_side(triplet.edit),
        "source": "generated scenes",
        "source_image": f"{index:07d}",
        "fold": 0,
        "license": "",
        "license_url": "",
        "attribution": "drawn by mmgrad-explain data scenes",
        **dict(zip(("de_in", "changed_in", "de_out", "mean_shift"), measured, strict=True)),
        "contrast_ids": partners,
        "target_mask": second,
    }


def _measure(scene: Scene, inside: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Measure the colour differences between the targets and the reference in CIE Lab.

    Args:
        scene: The images.
        inside: The union of each triplet's masks, ``(E, H, W)`` bool.

    Returns:
        For each triplet the mean inside, the share of visibly different pixels there, the mean outside of the dilated
        masks (on every fourth pixel of every fourth row), and the difference of the mean colours inside.
    """
    import cv2

    pixels = inside[0].size
    grid = _grid(len(inside), inside.shape[1])
    outside = [cv2.dilate(mask, _AROUND)[::_STEP, ::_STEP] == 0 for mask in inside.view(np.uint8)]
    counts = [int(np.count_nonzero(mask)) for mask in inside]
    places = np.concatenate([np.flatnonzero(inside), *(row[out] for row, out in zip(grid, outside, strict=True))])
    total = len(places)
    shown = np.concatenate([triplet.target for triplet in scene.triplets]).reshape(-1, 3)
    both = np.concatenate([scene.reference.reshape(-1, 3).take(places % pixels, 0), shown.take(places, 0)])
    lab = cv2.cvtColor(both[None], cv2.COLOR_RGB2LAB)[0]
    step = (lab[total:].astype(np.float32) - lab[:total]) * _LAB
    square = step * step
    distance = np.sqrt(square[:, 0] + square[:, 1] + square[:, 2])
    found = []
    start, beyond = 0, sum(counts)
    for count, out in zip(counts, outside, strict=True):
        within = distance[start : start + count]
        around = distance[beyond : beyond + int(np.count_nonzero(out))]
        shift = step[start : start + count].sum(0)
        found.append(
            (
                round(float(within.sum()) / count, 2),
                round(int(np.count_nonzero(within > _CHANGED)) / count, 3),
                round(float(around.sum()) / max(1, len(around)), 3),
                round(float(np.sqrt(shift.dot(shift))) / count, 2),
            )
        )
        start += count
        beyond += len(around)
    return found


@lru_cache(4)
def _grid(count: int, size: int) -> np.ndarray:
    """Return the flat indices of every fourth pixel of every fourth row, ``(count, size / 4, size / 4)``."""
    return np.arange(count * size * size).reshape(count, size, size)[:, ::_STEP, ::_STEP]
