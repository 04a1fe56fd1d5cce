"""Plans and makes the edits of one photograph: objects, kinds, texts, and whether each edit is visible."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmgrad_explain.data.edits.colours import measure_lab_distances, measure_mean_lab
from mmgrad_explain.data.edits.masks import dilate_mask, find_removal_margin, find_window
from mmgrad_explain.data.edits.nouns import is_plural
from mmgrad_explain.data.edits.objects import find_objects, shrink_to_size
from mmgrad_explain.data.edits.operations import apply_edit, pick_detail
from mmgrad_explain.data.edits.templates import SIDES
from mmgrad_explain.data.edits.text import edit_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.edits.objects import EditObject
    from mmgrad_explain.data.edits.options import EditOptions
    from mmgrad_explain.data.instances.masks import Mask
    from mmgrad_explain.data.instances.records import Instance

    _Pixels = npt.NDArray[np.uint8]

_WEIGHTS = {
    "recolour": 4.0, "darken": 1.0, "brighten": 1.0, "gray": 1.0, "pattern": 2.0, "blur": 1.0, "remove": 1.5,
    "add": 1.0, "swap": 1.0,
}  # fmt: skip
_NAMED_DETAILS = {"darken": "darker", "brighten": "brighter", "gray": "gray", "blur": "blurry"}
_SAME = {"gray": "recolour"}  # "make it gray" can mean either, so one object gets only one of them
_CHANGED = 5.0  # CIE76 from which a pixel counts as changed
_LEAST_SHARE = {"pattern": 0.15, "blur": 0.25}  # of the mask's pixels that must change; half for other kinds
_LEAST_PATTERN_PIXELS = 900
_MOST_REMOVED = 0.08  # of the image
_MOST_CONTACT = 0.2  # of an object's outline may touch other objects or the image's edge, if the object is removed
_SWAP_DISTANCE = 25.0  # CIE76, smallest distance between the colours of two objects of a swap
_ATTEMPTS = 6  # for each edit


class ColourDifference(NamedTuple):
    """The colour difference of two images, CIE76; see :class:`~mmgrad_explain.data.triplets.Triplet`."""

    de_in: float
    changed_in: float
    de_out: float
    mean_shift: float


@dataclass(frozen=True)
class Edit:
    """An edit: images (H, W, 3) uint8, mask (H, W) bool, and the fields of a triplet."""

    kind: str
    detail: str
    text: str
    phrase: str
    qualifier: str
    class_name: str
    n_instances: int
    is_thing: bool
    reference: _Pixels
    target: _Pixels
    mask: Mask
    dilate: int


def measure_change(reference: _Pixels, target: _Pixels, mask: Mask, dilate: int = 0) -> ColourDifference:
    """Measure an edit in CIE Lab.

    Args:
        reference: (H, W, 3) uint8, RGB.
        target: The same.
        mask: (H, W) bool, where they should differ.
        dilate: Pixels around the mask where they may differ as well.
    """
    import cv2

    old, new = (
        cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2LAB).astype(np.float32) for p in (reference, target)
    )
    step = (new - old) * np.array([100 / 255, 1, 1], np.float32)
    distance = cv2.magnitude(cv2.magnitude(step[..., 0], step[..., 1]), step[..., 2])
    inside = distance[mask]
    outside = distance[~(dilate_mask(mask, dilate) if dilate else mask)]
    return ColourDifference(
        float(inside.mean()),
        float((inside > _CHANGED).mean()),
        float(outside.mean()) if outside.size else 0.0,
        float(np.linalg.norm(step[mask].mean(0))),
    )


def make_edits(
    image: _Pixels, instances: Sequence[Instance], options: EditOptions, rng: np.random.Generator
) -> tuple[list[Edit], Counter[str]]:
    """Make the edits of one photograph.

    Half of the time the first two edits are the same on two objects; then only the phrase tells them apart.

    Args:
        image: (H, W, 3) uint8, RGB.
        instances: Its objects.
        options: Which edits.
        rng: Decides everything else.

    Returns:
        The edits, and the counted reasons why others were left out.
    """
    skipped: Counter[str] = Counter()
    image, masks = shrink_to_size(image, instances, options.size)
    objects = find_objects(instances, masks, skipped, min_area=options.min_area, max_area=options.max_area)
    order = [objects[i] for i in rng.permutation(len(objects))]
    # Possible contrast partners of the first object come next.
    order[1:] = sorted(order[1:], key=lambda other: bool((other.mask & order[0].mask).any()))
    edits: list[Edit] = []
    done: set[tuple[object, ...]] = set()
    twins = rng.random() < 0.5
    for turn in range(options.edits_per_image if order else 0):
        for attempt in range(_ATTEMPTS):
            thing = order[(turn + (attempt >= _ATTEMPTS // 2)) % len(order)]
            like = edits[0] if twins and len(edits) == 1 and attempt < 2 else None
            edit = _attempt(image, thing, objects, options, rng, like, skipped)
            if edit is None:
                continue
            meaning = (_SAME.get(edit.kind, edit.kind), edit.detail, thing.noun, thing.index)
            if meaning not in done:
                done.add(meaning)
                edits.append(edit)
                break
    return edits, skipped


def _suits(kind: str, thing: EditObject) -> bool:
    area = int(np.count_nonzero(thing.mask))
    if kind == "pattern":
        return area >= _LEAST_PATTERN_PIXELS
    if kind in ("remove", "add"):
        alone = thing.index is not None or len(thing.spots) <= 3
        fits = thing.is_thing and area <= _MOST_REMOVED * thing.mask.size and thing.contact <= _MOST_CONTACT
        return fits and (alone if kind == "remove" else thing.index is not None)
    return True


def _attempt(
    image: _Pixels,
    thing: EditObject,
    objects: Sequence[EditObject],
    options: EditOptions,
    rng: np.random.Generator,
    like: Edit | None,
    skipped: Counter[str],
) -> Edit | None:
    named = thing.name(rng)
    if named is None:
        skipped["no unambiguous name for the object"] += 1
        return None
    phrase, qualifier = named
    kinds = [kind for kind in options.kinds if _suits(kind, thing)]
    if not kinds:
        skipped["no edit suits the object"] += 1
        return None
    weights = np.cumsum([_WEIGHTS[kind] for kind in kinds])
    kind = kinds[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]
    detail = pick_detail(rng, kind, image, thing.mask)
    if like is not None and like.kind in kinds and like.kind not in ("add", "swap"):
        kind = like.kind
        detail = like.detail if kind in ("recolour", "pattern") else None
    edit_detail: str | Mask | None = detail
    text_detail = detail or ""
    if kind == "swap":
        giver = _find_giver(image, thing, objects, rng)
        if giver is None:
            skipped["swap: no other object of another colour"] += 1
            return None
        edit_detail, text_detail = giver
    if kind == "add":
        text_detail = _choose_place(rng, thing, qualifier)
    edited = apply_edit(kind, image, thing.mask, edit_detail, rng)
    dilate = find_removal_margin(thing.mask) if kind in ("remove", "add") else 0
    reason = _find_flaw(kind, image, edited, thing.mask, dilate, text_detail, options)
    if reason:
        skipped[reason] += 1
        return None
    text = edit_sentence(rng, kind, phrase, text_detail or None, plural=qualifier == "all" or is_plural(thing.noun))
    reference, target = (edited, image) if kind == "add" else (image, edited)
    return Edit(
        kind, text_detail or _NAMED_DETAILS.get(kind, ""), text, phrase, qualifier, thing.class_name, len(thing.spots),
        thing.is_thing, reference, target, thing.mask, dilate,
    )  # fmt: skip


def _find_giver(
    image: _Pixels, thing: EditObject, objects: Sequence[EditObject], rng: np.random.Generator
) -> tuple[Mask, str] | None:
    """Find an object of another kind and colour, and its phrase."""
    own = measure_mean_lab(image, thing.mask)
    fit = [
        other
        for other in objects
        if other.noun != thing.noun
        and not (other.mask & thing.mask).any()
        and math.dist(own, measure_mean_lab(image, other.mask)) >= _SWAP_DISTANCE
    ]
    if not fit:
        return None
    other = fit[int(rng.random() * len(fit))]
    named = other.name(rng)
    return None if named is None else (other.mask, named[0])


def _choose_place(rng: np.random.Generator, thing: EditObject, qualifier: str) -> str:
    """Choose the words for the place of an added object: the side in its phrase, if any; half of the time none."""
    spot = thing.spots[thing.index or 0]
    sides = [side for side, (axis, sign, _, _) in SIDES.items() if sign * (spot[axis] - 0.5) > 0.15]
    if qualifier in SIDES:
        sides = [qualifier]
    if not sides or rng.random() < 0.5:
        return ""
    return SIDES[sides[int(rng.random() * len(sides))]][3]


def _find_flaw(
    kind: str, old: _Pixels, new: _Pixels, mask: Mask, dilate: int, detail: str, options: EditOptions
) -> str:
    where = find_window(mask, dilate)  # outside, nothing changes
    change = measure_change(old[where], new[where], mask[where], dilate)
    least = options.min_change * (0.6 if kind in ("blur", "pattern") else 1)
    if change.de_in < least or change.changed_in < _LEAST_SHARE.get(kind, 0.5):
        return f"{kind}: not visible enough"
    if kind == "recolour":
        distances = measure_lab_distances(new, mask)
        if min(distances, key=distances.__getitem__) != detail:
            return f"{kind}: the colour does not come out"
    return ""
