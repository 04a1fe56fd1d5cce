"""Views of a labelled photograph with edits of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.data.batches.facts import UNKNOWN
from mmgrad_explain.data.edits.colours import measure_mean_lab
from mmgrad_explain.data.edits.operations import apply_edit, pick_detail
from mmgrad_explain.training.sources.photo_views import crop, draw_box, letterbox, relight

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.training.sources.photo_facts import FactNumbers
    from mmgrad_explain.training.sources.photo_options import PhotoOptions
    from mmgrad_explain.training.sources.photo_texts import PhotoTexts

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]
    _Facts = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Edit:
    """An edit of a reference, or a difference to another photograph.

    Attributes:
        kind: Kind of the edit.
        text: What asks for it.
        target: ``(S, S, 3)``.
        mask: Where it is in the reference, ``(S, S)``.
        labels: Label map of the target, ``(S, S)``.
        facts: On the target, ``(F,)``.
        asks: What the text asks for, ``(F,)``.
        number: Of the photograph that the target shows.
        target_mask: Where it is in the target; None if in the same place.
    """

    kind: str
    text: str
    target: _Pixels
    mask: _Mask
    labels: _Pixels
    facts: _Facts
    asks: _Facts
    number: int
    target_mask: _Mask | None = None


@dataclass(frozen=True)
class EditedPhoto:
    """A view of a photograph and its edits.

    Attributes:
        reference: ``(S, S, 3)``.
        labels: Its label map, ``(S, S)``.
        facts: On the reference, ``(F,)``.
        number: Of the photograph.
        edits: The edits.
    """

    reference: _Pixels
    labels: _Pixels
    facts: _Facts
    number: int
    edits: list[Edit]


@dataclass(frozen=True)
class _Draft:
    """An edit before the light changes; ``detail`` is its colour or pattern."""

    thing: int
    kind: str
    detail: str | None
    text: str
    target: _Pixels
    mask: _Mask
    facts: _Facts
    asks: _Facts


class PhotoEditor:
    """Makes views of photographs, and edits of their objects.

    Labels from ``K`` on are those of a second person
    (:func:`~mmgrad_explain.training.sources.photo_views.set_beside`).

    Args:
        size: Side of the square images, pixels.
        options: See :class:`~mmgrad_explain.training.sources.photo_options.PhotoOptions`.
        editable: The labels that are edited, ``(K,)`` bool.
        texts: Makes the sentences.
        numbers: The facts.
        held_out: Show photographs whole and in their own light, with plain sentences.
    """

    def __init__(
        self,
        size: int,
        options: PhotoOptions,
        editable: _Mask,
        texts: PhotoTexts,
        numbers: FactNumbers,
        *,
        held_out: bool,
    ) -> None:
        self.size = size
        self.options = options
        self.held_out = held_out
        self._count = len(editable)
        self._editable = np.tile(editable, 2)
        self._texts = texts
        self._numbers = numbers

    def view(self, photo: _Pixels, labels: _Pixels, rng: np.random.Generator) -> tuple[_Pixels, _Pixels]:
        """Return a letterboxed crop; for held-out photographs, the whole photograph."""
        if self.held_out:
            return letterbox(photo, labels, self.size)
        options = self.options
        for _ in range(4):
            box = draw_box(labels, self._editable, options.zoom, options.focus, options.portrait, rng)
            view, view_labels = letterbox(*crop(photo, labels, box, rng), self.size)
            if len(self.find_things(view_labels)) > 1:
                break
        if rng.random() < 0.5:
            view, view_labels = view[:, ::-1], view_labels[:, ::-1]
        return np.ascontiguousarray(view), np.ascontiguousarray(view_labels)

    def find_things(self, labels: _Pixels, least: float | None = None) -> list[int]:
        """Find the objects in a view that are large enough to edit, in the order of their labels."""
        counts = np.bincount(labels.reshape(-1), minlength=len(self._editable))[: len(self._editable)]
        wanted = self.options.min_area * self.size**2 if least is None else least
        return [int(i) for i in np.flatnonzero((counts >= max(wanted, 4)) & self._editable)]

    def edit(
        self, view: _Pixels, labels: _Pixels, things: Sequence[int], facts: _Facts, number: int,
        rng: np.random.Generator,
    ) -> EditedPhoto:  # fmt: skip
        """Edit a view.

        Args:
            view: The image.
            labels: Its label map, with bars.
            things: The objects that may be edited.
            facts: On the view, ``(F,)``.
            number: Of the photograph.
            rng: The source of chance.
        """
        if not self.held_out:
            for thing in things:
                if rng.random() < self.options.recoloured:
                    mask = labels == thing
                    colour = pick_detail(rng, "recolour", view, mask)
                    view = apply_edit("recolour", view, mask, colour, rng)
                    facts = self._change(facts, thing, "recolour", colour)
        drafts = self._draw(view, labels, things, facts, rng)
        if not self.held_out and self.options.double and rng.random() < self.options.double:
            drafts = self._combine(drafts, labels, facts, rng)
        images = [view, *(draft.target for draft in drafts)]
        if not self.held_out:
            images = relight(images, labels == IGNORE, self.options.light, rng)
        own = self._plain_labels(labels)
        edits = [
            Edit(draft.kind, draft.text, image, draft.mask, own, draft.facts, draft.asks, number)
            for draft, image in zip(drafts, images[1:], strict=True)
        ]
        return EditedPhoto(images[0], own, facts, number, edits)

    def _draw(
        self, view: _Pixels, labels: _Pixels, things: Sequence[int], facts: _Facts, rng: np.random.Generator
    ) -> list[_Draft]:
        """Draw different edits, on different objects if there are enough."""
        options = self.options
        kinds, weights = list(options.kinds), np.array(list(options.kinds.values()))
        taken: set[tuple[int, str]] = set()
        drafts: list[_Draft] = []
        order = rng.permutation(things)
        tries = 0
        while len(drafts) < options.edits:
            thing = int(order[len(drafts) % len(order)])
            mask = labels == thing
            kind = str(rng.choice(kinds, p=weights / weights.sum()))
            tries += 1
            if tries > 12 * options.edits or not _visible(kind, view, mask):
                kind = "recolour" if "recolour" in kinds else kind
            detail = pick_detail(rng, kind, view, mask)
            key = (thing, "gray" if detail == "gray" else detail or kind)
            if key in taken and tries <= 24 * options.edits:
                continue
            taken.add(key)
            target = apply_edit(kind, view, mask, detail, rng)
            text = self._say(kind, thing, detail, labels, things, facts, rng)
            asks = self._numbers.ask(thing % self._count, detail if kind == "recolour" else None)
            if kind != "recolour" or self._side_of(thing, labels) is not None:
                asks = self._numbers.ask()
            changed = self._change(facts, thing, kind, detail)
            drafts.append(_Draft(thing, kind, detail, text, target, mask, changed, asks))
        return drafts

    def _say(
        self, kind: str, thing: int, detail: str | None, labels: _Pixels, things: Sequence[int], facts: _Facts,
        rng: np.random.Generator,
    ) -> str:  # fmt: skip
        label = thing % self._count
        if self.held_out:
            return self._texts.plain(rng, kind, label, detail)
        side = self._side_of(thing, labels)
        if side is not None and rng.random() < 0.5 and not {label, label + self._count} <= set(np.unique(labels)):
            side = None
        present = [other % self._count for other in things]
        own = self._numbers.colour_of(facts, label)
        return self._texts.edit(rng, kind, label, detail, present, own=own, side=side)

    def _side_of(self, thing: int, labels: _Pixels) -> str | None:
        """Return on which side the person of an object stands; None if one person is shown."""
        second = (labels >= self._count) & (labels != IGNORE)
        first = (labels > 0) & (labels < self._count)
        if not second.any() or not first.any():
            return None
        own, other = (second, first) if thing >= self._count else (first, second)
        return "left" if np.nonzero(own)[1].mean() < np.nonzero(other)[1].mean() else "right"

    def _combine(self, drafts: list[_Draft], labels: _Pixels, facts: _Facts, rng: np.random.Generator) -> list[_Draft]:
        """Make the last edit one of two objects: those of the first two edits."""
        if len(drafts) < 3 or drafts[0].thing == drafts[1].thing:
            return drafts
        first, second = drafts[:2]
        if self._side_of(first.thing, labels) is not None:
            return drafts
        target = apply_edit(second.kind, first.target, second.mask, second.detail, rng)
        asks = np.maximum(first.asks, second.asks)
        if not (first.asks == 1).any() or not (second.asks == 1).any():
            asks = self._numbers.ask()
        changed = self._change(self._change(facts, first.thing, first.kind, first.detail), second.thing, second.kind,
                               second.detail)  # fmt: skip
        text = self._texts.join(rng, first.text, second.text)
        both = _Draft(first.thing, first.kind, None, text, target, first.mask | second.mask, changed, asks)
        return [*drafts[:-1], both]

    def _change(self, facts: _Facts, thing: int, kind: str, detail: str | None) -> _Facts:
        """Return the facts after an edit; where nothing is known, as of two people, nothing becomes known."""
        if (facts == UNKNOWN).all():
            return facts
        if kind == "recolour" and detail is not None:
            return self._numbers.painted(facts, thing, detail)
        return self._numbers.changed(facts, thing, grays=kind == "gray")

    def _plain_labels(self, labels: _Pixels) -> _Pixels:
        """Return labels without bars, those of both persons alike."""
        plain = np.where(labels == IGNORE, 0, labels)
        return np.where(plain >= self._count, plain - self._count, plain).astype(np.uint8)


def _visible(kind: str, image: _Pixels, mask: _Mask) -> bool:
    """Return whether an edit visibly changes an object: a black one cannot be darkened, nor a gray one be grayed."""
    light, a, b = measure_mean_lab(image, mask)
    return {"darken": light > 22, "brighten": light < 78, "gray": np.hypot(a, b) > 18}.get(kind, True)  # type: ignore[no-any-return]
