"""Edits of the objects in a scene (:mod:`~mmgrad_explain.training.sources.object_scenes`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS, MOST, measure_colour_shares
from mmgrad_explain.data.edits.colours import measure_mean_lab
from mmgrad_explain.data.edits.operations import apply_edit, pick_detail
from mmgrad_explain.data.edits.text import Spot
from mmgrad_explain.training.sources.object_scenes import Cutout, Thing, paste

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from mmgrad_explain.training.sources.object_scenes import Scene
    from mmgrad_explain.training.sources.object_texts import ObjectTexts

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]

OBJECT_EDITS = {
    "recolour": 5.0, "darken": 1.2, "brighten": 1.2, "gray": 1.0, "pattern": 0.8, "blur": 1.0, "remove": 2.0,
    "add": 1.0, "replace": 1.2, "enlarge": 0.8, "shrink": 0.8,
}  # fmt: skip
"""The kinds of edits of objects, and how often each is drawn, relative to the others."""

_LOOKS = ("recolour", "darken", "brighten", "gray", "pattern", "blur")
_ALL = 0.25  # how often an edit is of all objects of a label
_LARGEST_HOLE = 0.2  # share of the image that is filled in where an object of the photograph is removed


@dataclass(frozen=True)
class ObjectEdit:
    """An edit of a scene.

    Attributes:
        kind: Kind of the edit.
        text: What asks for it.
        target: ``(S, S, 3)``.
        mask: Where it is in the reference, ``(S, S)``; of what is added, where it will be.
        target_mask: Where it is in the target.
        labels: Label map of the target, ``(S, S)``.
    """

    kind: str
    text: str
    target: _Pixels
    mask: _Mask
    target_mask: _Mask
    labels: _Pixels


@dataclass(frozen=True)
class _Chosen:
    """The objects of an edit, and how they are called."""

    things: tuple[Thing, ...]
    mask: _Mask
    phrase: str
    bare: bool


class ObjectEditor:
    """Makes edits of scenes.

    Args:
        edits: Number of edits of a scene.
        kinds: How often each kind is drawn, relative to the others.
        least: Smallest object that is edited, pixels.
        texts: Makes the sentences.
    """

    def __init__(self, edits: int, kinds: Mapping[str, float], least: float, texts: ObjectTexts) -> None:
        self._edits = edits
        self._kinds = list(kinds)
        self._weights = np.array(list(kinds.values())) / sum(kinds.values())
        self._least = max(least, 4)
        self._texts = texts

    def edit(
        self, scene: Scene, spare: Sequence[Thing], other: Cutout | None, rng: np.random.Generator
    ) -> tuple[_Pixels, _Pixels, list[ObjectEdit]]:
        """Return the image of a scene, its label map, and different edits.

        Args:
            scene: The scene, with an object at least.
            spare: An object that may be added.
            other: What may replace an object.
            rng: The source of chance.
        """
        image, labels, things = scene.render()
        seen = [thing for thing in things if thing.mask.sum() >= self._least] or [
            max(things, key=lambda t: t.mask.sum())
        ]
        colours = [_colour_of(image, thing.mask) for thing in seen]
        order = rng.permutation(len(seen))
        made: list[ObjectEdit] = []
        said: set[str] = set()
        for attempt in range(8 * self._edits):
            if len(made) == self._edits:
                break
            kind = self._kinds[int(rng.choice(len(self._kinds), p=self._weights))]
            if kind == "add":
                edit = self._add(image, labels, seen, spare, scene, rng) if attempt < 4 * self._edits else None
            else:
                chosen = self._choose(int(order[len(made) % len(order)]), seen, colours, rng)
                edit = self._change(kind, chosen, scene, image, labels, other, rng)
            if edit is not None and edit.text not in said:
                said.add(edit.text)
                made.append(edit)
        while len(made) < self._edits:  # few objects, and few words for them
            made.append(self._change("recolour", self._choose(0, seen, colours, rng), scene, image, labels, None, rng))  # type: ignore[arg-type]
        return image, labels, made

    def _choose(
        self, index: int, seen: Sequence[Thing], colours: Sequence[str | None], rng: np.random.Generator
    ) -> _Chosen:
        """Choose an object and a phrase that fits it alone, or all objects of its label."""
        label = seen[index].label
        group = [number for number, thing in enumerate(seen) if thing.label == label]
        spots = [_spot(seen[number].mask) for number in group]
        found = None
        if len(group) == 1 or rng.random() >= _ALL:
            found = self._texts.phrase(rng, label, spots, group.index(index), [colours[number] for number in group])
        if found is not None:
            return _Chosen((seen[index],), seen[index].mask, *found)
        things = tuple(seen[number] for number in group)
        mask = np.logical_or.reduce([thing.mask for thing in things])
        return _Chosen(things, mask, self._texts.phrase_for_all(rng, label, len(group)), bare=False)

    def _change(
        self, kind: str, chosen: _Chosen, scene: Scene, image: _Pixels, labels: _Pixels, other: Cutout | None,
        rng: np.random.Generator,
    ) -> ObjectEdit | None:  # fmt: skip
        """Make an edit of chosen objects; None if this one cannot be made of them."""
        if kind in _LOOKS:
            return self._repaint(kind, chosen, image, labels, rng)
        if kind == "remove":
            return self._remove(chosen, scene, image, labels, rng)
        thing = chosen.things[0]
        if len(chosen.things) > 1 or thing.cutout is None:
            return None
        new = None
        if kind == "replace":
            if other is None or other.label == thing.label:
                return None
            place = (*thing.place[:2], _equal_height(thing, other))
            changed, new = replace(thing, cutout=other, label=other.label, place=place), other.label
        else:
            factor = rng.uniform(1.4, 2.0) if kind == "enlarge" else 1 / rng.uniform(1.5, 2.2)
            changed = replace(thing, place=(*thing.place[:2], thing.place[2] * factor))
        pasted = [changed if one.cutout is thing.cutout and one.place == thing.place else one for one in scene.pasted]
        target, after, things = replace(scene, pasted=tuple(pasted)).render()
        place_after = next((one.mask for one in things if one.place == changed.place), None)
        if place_after is None or place_after.sum() < self._least:
            return None
        text = self._texts.say(rng, kind, chosen.phrase, bare=chosen.bare, new=new)
        return ObjectEdit(kind, text, target, chosen.mask, place_after, after)

    def _repaint(
        self, kind: str, chosen: _Chosen, image: _Pixels, labels: _Pixels, rng: np.random.Generator
    ) -> ObjectEdit:
        """Change what objects look like."""
        kind = kind if _visible(kind, image, chosen.mask) else "recolour"
        detail = pick_detail(rng, kind, image, chosen.mask)
        target = apply_edit(kind, image, chosen.mask, detail, rng)
        text = self._texts.say(rng, kind, chosen.phrase, detail, bare=chosen.bare)
        return ObjectEdit(kind, text, target, chosen.mask, chosen.mask, labels)

    def _remove(
        self, chosen: _Chosen, scene: Scene, image: _Pixels, labels: _Pixels, rng: np.random.Generator
    ) -> ObjectEdit | None:
        """Remove pasted objects, or fill in the place of the photograph's own."""
        if all(thing.cutout is not None for thing in chosen.things):
            gone = [(thing.cutout, thing.place) for thing in chosen.things]
            left = [one for one in scene.pasted if not any(one.cutout is c and one.place == p for c, p in gone)]
            target, after, _ = replace(scene, pasted=tuple(left)).render()
        elif chosen.mask.mean() <= _LARGEST_HOLE and not any(thing.cutout is not None for thing in chosen.things):
            target = apply_edit("remove", image, chosen.mask, None, rng)
            after = np.where(chosen.mask, IGNORE, labels).astype(np.uint8)
        else:
            return None
        text = self._texts.say(rng, "remove", chosen.phrase, bare=chosen.bare)
        return ObjectEdit("remove", text, target, chosen.mask, chosen.mask, after)

    def _add(
        self, image: _Pixels, labels: _Pixels, seen: Sequence[Thing], spare: Sequence[Thing], scene: Scene,
        rng: np.random.Generator,
    ) -> ObjectEdit | None:  # fmt: skip
        """Add an object, with its side in the text if another one of its label is there."""
        if not spare or spare[0].cutout is None or spare[0].mask.sum() < self._least:
            return None
        thing = spare[0]
        target, alpha = paste(image, spare[0].cutout, thing.place, scene.view)
        spot = _spot(thing.mask)
        side = "left" if spot.u < 0.5 else "right"
        again = any(one.label == thing.label for one in seen)
        placed = abs(spot.u - 0.5) > 0.12 and rng.random() < 0.5
        noun = self._texts.noun(rng, thing.label)
        phrase = f"the {side} {noun}" if again else f"the {noun}"
        text = self._texts.say(rng, "add", phrase, f"on the {side}" if placed else None)
        solid = alpha > 0.5
        return ObjectEdit("add", text, target, solid, solid, np.where(solid, thing.label, labels).astype(np.uint8))


def _spot(mask: _Mask) -> Spot:
    """Say where an object is in the image."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    return Spot(float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height), float(len(rows)))


def _colour_of(image: _Pixels, mask: _Mask) -> str | None:
    shares = measure_colour_shares(image, mask)
    return COLOUR_WORDS[int(shares.argmax())] if shares.max() >= MOST else None


def _equal_height(thing: Thing, other: Cutout) -> float:
    """Return the height at which a cut-out covers as much as a pasted object."""
    cutout = thing.cutout
    if cutout is None:
        return thing.place[2]
    area = (cutout.alpha > 0.5).sum() * (thing.place[2] / cutout.alpha.shape[0]) ** 2
    ratio = float(np.sqrt(area / max(float((other.alpha > 0.5).sum()), 1.0)))
    return float(other.alpha.shape[0] * ratio)


def _visible(kind: str, image: _Pixels, mask: _Mask) -> bool:
    """Return whether an edit visibly changes an object: a black one cannot be darkened, nor a gray one be grayed."""
    light, a, b = measure_mean_lab(image, mask)
    return bool({"darken": light > 22, "brighten": light < 78, "gray": np.hypot(a, b) > 18}.get(kind, True))
