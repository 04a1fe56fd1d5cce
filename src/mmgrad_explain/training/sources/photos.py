"""Photographs with pixel labels, edited while training: every step shows new crops with new edits.

A folder holds ``photos/NAME.jpg`` (or .png), ``labels/NAME.png`` whose values index the list of names in
``labels.json``. Crops from half a body to a person far away, mirrored, under other light; some of the objects are
recoloured in the reference itself beforehand, so that no colour gives the answer away.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE, PictureBatch, partners
from mmgrad_explain.data.edits.operations import apply_edit, mean_lab, pick_detail
from mmgrad_explain.data.edits.text import edit_sentence, edit_vocabulary, spoken
from mmgrad_explain.errors import InputError, MMGradWarning, did_you_mean
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, shuffled
from mmgrad_explain.training.sources.photo_views import crop, letterbox, lit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]

KINDS = {"recolour": 6.0, "darken": 1.0, "brighten": 1.0, "gray": 0.5, "pattern": 1.5}
"""How often each kind of edit is drawn, relatively."""


@dataclass(frozen=True)
class PhotoOptions:
    """How photographs become triplets.

    Attributes:
        pictures: Photographs in a batch.
        edits: Edits of each.
        zoom: Height of a crop as a share of the photograph's, from and to; above 1 the photograph lies on a larger
            ground.
        focus: How often a crop is laid around one object, chosen evenly, so that small ones are seen at all sizes.
        min_area: Smallest object that is edited, as a share of the model's input.
        recoloured: How often an object is recoloured in the reference beforehand.
        light: How much exposure, contrast and cast vary; 0 leaves the light alone.
        kinds: How often each kind of edit is drawn, relatively.
        synonyms: Other words for a label's name, each drawn as often as the name itself.
        exclude: Names of labels that are never edited; beside these, only names that the labels have.
        holdout: Share of the photographs kept from training, for evaluation.
    """

    pictures: int = 20
    edits: int = 4
    zoom: tuple[float, float] = (0.35, 1.25)
    focus: float = 0.5
    min_area: float = 0.004
    recoloured: float = 0.3
    light: float = 1.0
    kinds: dict[str, float] = field(default_factory=lambda: dict(KINDS))
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ("null", "skin", "hair", "accessories", "intimate")
    holdout: float = 0.15


class PhotoSource:
    """Batches of edited photographs.

    Args:
        folder: Where photographs and labels are.
        size: Side of the square pictures, pixels.
        options: See :class:`PhotoOptions`.
        held_out: Give the photographs kept from training, whole and unchanged, instead of the others.

    Raises:
        InputError: If the folder is not as described, or an option is wrong.
    """

    def __init__(
        self, folder: str | Path, size: int, options: PhotoOptions | None = None, *, held_out: bool = False
    ) -> None:
        self.size = size
        self.options = options or PhotoOptions()
        self.held_out = held_out
        unknown = sorted(set(self.options.kinds) - set(KINDS))
        if unknown:
            hint = did_you_mean(unknown[0], KINDS)
            raise InputError(f"kinds: photographs have no edit {unknown[0]!r}: {hint}use {', '.join(KINDS)}")
        self._photos = PhotoFolder(folder, holdout=self.options.holdout, held_out=held_out)
        self.names = self._photos.names
        for name in (name for name in self.options.exclude if name not in (*self.names, *PhotoOptions.exclude)):
            raise InputError(f"photos.exclude: {_no_label(name, self.names)}")
        for name in (name for name in self.options.synonyms if name not in self.names):
            warnings.warn(
                f"photos.synonyms: {_no_label(name, self.names)}; it is left out", MMGradWarning, stacklevel=2
            )
        excluded = set(self.options.exclude)
        self._editable = np.array([name not in excluded and i > 0 for i, name in enumerate(self.names)])

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold."""
        editable = [name for name, used in zip(self.names, self._editable, strict=True) if used]
        also = [word for name in editable for word in self.options.synonyms.get(name, ())]
        return edit_vocabulary([*editable, *also])

    @property
    def label_classes(self) -> dict[str, int]:
        """Number of classes in each label map, background included."""
        return {"object": len(self.names)}

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._photos)

    def batch(self, seed: int, step: int) -> PictureBatch:
        """The batch of a step; equal seeds and steps give equal batches.

        Photographs come in a new order every time all have been seen.
        """
        options = self.options
        rng = np.random.default_rng([seed, step])
        made = [self._edited(index, rng) for index in shuffled(len(self), seed, step, options.pictures)]
        masks = np.stack([one for shown in made for one in shown.masks])
        picture = np.arange(len(made)).repeat(options.edits)
        return PictureBatch(
            references=np.stack([shown.reference for shown in made]),
            targets=np.stack([one for shown in made for one in shown.targets]),
            reference_masks=masks,
            target_masks=masks,
            texts=[text for shown in made for text in shown.texts],
            edits=[edit for shown in made for edit in shown.edits],
            picture=picture,
            partner=partners(masks, picture),
            supervised=np.ones(len(masks), bool),
            reference_labels={"object": np.stack([shown.labels for shown in made])},
            target_labels={"object": np.stack([shown.labels for shown in made])[picture]},
        )

    def _edited(self, index: int, rng: np.random.Generator) -> _Edited:
        """A view of a photograph and its edits; of the next photograph that has something to edit."""
        for following in range(len(self)):
            photo, labels = self._photos[(index + following) % len(self)]
            view, view_labels = self._view(photo, labels, rng)
            things = self._things(view_labels)
            if not things:  # the crop missed everything: the whole photograph, and anything in it
                view, view_labels = letterbox(photo, labels, self.size)
                things = self._things(view_labels) or self._things(view_labels, least=1)
            if things:
                break
        else:
            raise InputError("the photographs' labels show nothing that may be edited: exclude fewer names")
        if not self.held_out:
            for thing in things:
                if rng.random() < self.options.recoloured:
                    mask = view_labels == thing
                    view = apply_edit("recolour", view, mask, pick_detail(rng, "recolour", view, mask), rng)
        edits = self._draw(view, view_labels, things, rng)
        pictures = [view, *(edit.target for edit in edits)]
        if not self.held_out:
            pictures = lit(pictures, view_labels == IGNORE, self.options.light, rng)
        return _Edited(
            reference=pictures[0],
            labels=np.where(view_labels == IGNORE, 0, view_labels).astype(np.uint8),
            targets=pictures[1:],
            masks=[view_labels == edit.thing for edit in edits],
            texts=[edit.text for edit in edits],
            edits=[edit.kind for edit in edits],
        )

    def _draw(self, view: _Pixels, labels: _Pixels, things: Sequence[int], rng: np.random.Generator) -> list[_Edit]:
        """Different edits, on different objects as far as there are such."""
        options = self.options
        kinds, weights = list(options.kinds), np.array(list(options.kinds.values()))
        taken: set[tuple[int, str]] = set()
        edits: list[_Edit] = []
        order = rng.permutation(things)
        tries = 0
        while len(edits) < options.edits:
            thing = int(order[len(edits) % len(order)])
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
            edits.append(_Edit(thing, kind, edit_sentence(rng, kind, f"the {self._word(thing, rng)}", detail), target))
        return edits

    def _word(self, thing: int, rng: np.random.Generator) -> str:
        name = self.names[thing]
        words = (name, *self.options.synonyms.get(name, ()))
        return spoken(words[int(rng.random() * len(words))])

    def _things(self, labels: _Pixels, least: float | None = None) -> list[int]:
        """The objects in a view that are large enough to be edited, lowest label first."""
        counts = np.bincount(labels.reshape(-1), minlength=len(self.names))[: len(self.names)]
        wanted = self.options.min_area * self.size**2 if least is None else least
        return [int(i) for i in np.flatnonzero((counts >= max(wanted, 4)) & self._editable)]

    def _view(self, photo: _Pixels, labels: _Pixels, rng: np.random.Generator) -> tuple[_Pixels, _Pixels]:
        """A crop, letterboxed; the whole photograph where it is held out."""
        if self.held_out:
            return letterbox(photo, labels, self.size)
        for _ in range(4):
            box = self._box(labels, rng)
            view, view_labels = letterbox(*crop(photo, labels, box, rng), self.size)
            if len(self._things(view_labels)) > 1:
                break
        if rng.random() < 0.5:
            view, view_labels = view[:, ::-1], view_labels[:, ::-1]
        return np.ascontiguousarray(view), np.ascontiguousarray(view_labels)

    def _box(self, labels: _Pixels, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Left, top, width, height of a crop; it may reach beyond the photograph."""
        low, high = self.options.zoom
        rows, columns = labels.shape
        zoom = low * (high / low) ** rng.random()
        height = max(8, round(zoom * rows))
        width = max(8, round(height * min(1.0, columns / rows) * 2 ** rng.uniform(-0.5, 0.9)))
        things = np.flatnonzero((np.bincount(labels.reshape(-1), minlength=len(self.names)) > 0)[: len(self.names)])
        things = things[self._editable[things]]
        if len(things) and rng.random() < self.options.focus:
            places = np.flatnonzero(labels == int(rng.choice(things)))
            row, column = divmod(int(rng.choice(places)), columns)
        else:
            row, column = int(rng.integers(rows)), int(rng.integers(columns))
        top = row - round(height * rng.uniform(0.25, 0.75))
        left = column - round(width * rng.uniform(0.25, 0.75))
        top = min(max(top, 0), rows - height) if height <= rows else -int(rng.integers(height - rows + 1))
        left = min(max(left, 0), columns - width) if width <= columns else -int(rng.integers(width - columns + 1))
        return left, top, width, height


@dataclass(frozen=True)
class _Edit:
    thing: int
    kind: str
    text: str
    target: _Pixels


@dataclass(frozen=True)
class _Edited:
    reference: _Pixels
    labels: _Pixels
    targets: list[_Pixels]
    masks: list[_Mask]
    texts: list[str]
    edits: list[str]


def _no_label(name: str, names: Sequence[str]) -> str:
    return f"no label is called {name!r}; {did_you_mean(name, names)}they are {', '.join(names)}"


def _visible(kind: str, image: _Pixels, mask: _Mask) -> bool:
    """Whether an edit changes anything to speak of: what is black cannot be darkened, what is gray not be grayed."""
    light, a, b = mean_lab(image, mask)
    return {"darken": light > 22, "brighten": light < 78, "gray": np.hypot(a, b) > 18}.get(kind, True)  # type: ignore[no-any-return]
