"""Labelled photographs that are edited during training: every step shows new crops with new edits.

The folder is that of :mod:`~mmgrad_explain.training.sources.photo_folder`. Crops differ in size, some are mirrored, and
the light changes. Some objects are recoloured in the reference as well, so that no colour gives the edit away.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE, ImageBatch, find_partners
from mmgrad_explain.data.edits.colours import measure_mean_lab
from mmgrad_explain.data.edits.nouns import make_noun
from mmgrad_explain.data.edits.operations import apply_edit, pick_detail
from mmgrad_explain.data.edits.text import edit_sentence, edit_vocabulary
from mmgrad_explain.errors import InputError, MMGradWarning, did_you_mean
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, draw_round
from mmgrad_explain.training.sources.photo_views import crop, letterbox, relight
from mmgrad_explain.training.sources.source import require_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]

PHOTO_EDITS = {"recolour": 6.0, "darken": 1.0, "brighten": 1.0, "gray": 0.5, "pattern": 1.5}
"""The kinds of edits of photographs, and how often each is drawn, relative to the others."""


@dataclass(frozen=True)
class PhotoOptions:
    """How photographs become triplets.

    Attributes:
        pictures: Photographs in a batch.
        edits: Edits of each photograph.
        zoom: Smallest and largest height of a crop, as a share of the photograph's height; above 1 the photograph is
            shown on a larger plain ground.
        focus: How often a crop is placed around one object, all with equal chance, so that small ones appear large.
        min_area: Smallest object that is edited, as a share of the model's input.
        recoloured: How often an object is recoloured in the reference as well.
        light: How much exposure, contrast and colour cast vary; 0 leaves them unchanged.
        kinds: How often each kind of edit is drawn, relative to the others.
        synonyms: Other words for a label's name, each drawn as often as the name itself.
        exclude: Names of labels that are never edited. Names that are not in the default must be labels of the folder.
        holdout: Share of the photographs that are kept from training, for evaluation.
    """

    pictures: int = 20
    edits: int = 4
    zoom: tuple[float, float] = (0.35, 1.25)
    focus: float = 0.5
    min_area: float = 0.004
    recoloured: float = 0.3
    light: float = 1.0
    kinds: dict[str, float] = field(default_factory=lambda: dict(PHOTO_EDITS))
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ("null", "skin", "hair", "accessories", "intimate")
    holdout: float = 0.15


@dataclass(frozen=True)
class PhotoSourceOptions(PhotoOptions):
    """A folder of labelled photographs as a source in a config. Further keys: see :class:`PhotoOptions`.

    Attributes:
        folder: Folder with ``photos/``, ``labels/`` and ``labels.json``.
        weight: How often the source is drawn, relative to the others.
    """

    folder: str = ""
    weight: float = 1.0

    knows_context: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = False

    def build(self, name: str, size: int, *, labels: bool, held_out: bool) -> PhotoSource:  # noqa: ARG002
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; label maps are always there."""
        return PhotoSource(require_folder(name, self.folder), size, self, held_out=held_out)


class PhotoSource:
    """Batches of edited photographs.

    Args:
        folder: Folder with photographs and labels.
        size: Side of the square images, pixels.
        options: See :class:`PhotoOptions`.
        held_out: Give the photographs that are kept from training, whole and in their own light.

    Raises:
        InputError: If the folder is not as described, or an option is wrong.
    """

    def __init__(
        self, folder: str | Path, size: int, options: PhotoOptions | None = None, *, held_out: bool = False
    ) -> None:
        self.size = size
        self.options = options or PhotoOptions()
        self.held_out = held_out
        unknown = sorted(set(self.options.kinds) - set(PHOTO_EDITS))
        if unknown:
            hint = did_you_mean(unknown[0], PHOTO_EDITS)
            raise InputError(f"kinds: photographs have no edit {unknown[0]!r}: {hint}use {', '.join(PHOTO_EDITS)}")
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

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step; equal seeds and steps give equal batches.

        Each round through all photographs has a new order.
        """
        options = self.options
        rng = np.random.default_rng([seed, step])
        edited = [self._edit(index, rng) for index in draw_round(len(self), seed, step, options.pictures)]
        masks = np.stack([one for photo in edited for one in photo.masks])
        picture = np.arange(len(edited)).repeat(options.edits)
        return ImageBatch(
            references=np.stack([photo.reference for photo in edited]),
            targets=np.stack([one for photo in edited for one in photo.targets]),
            reference_masks=masks,
            target_masks=masks,
            texts=[text for photo in edited for text in photo.texts],
            edits=[edit for photo in edited for edit in photo.edits],
            picture=picture,
            partner=find_partners(masks, picture),
            supervised=np.ones(len(masks), bool),
            reference_labels={"object": np.stack([photo.labels for photo in edited])},
            target_labels={"object": np.stack([photo.labels for photo in edited])[picture]},
        )

    def _edit(self, index: int, rng: np.random.Generator) -> _EditedPhoto:
        """Return a view of a photograph and its edits; if nothing in it can be edited, of the next photograph."""
        for following in range(len(self)):
            photo, labels = self._photos[(index + following) % len(self)]
            view, view_labels = self._view(photo, labels, rng)
            things = self._things(view_labels)
            if not things:  # the crop has no object: take the whole photograph, and objects of any size
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
        images = [view, *(edit.target for edit in edits)]
        if not self.held_out:
            images = relight(images, view_labels == IGNORE, self.options.light, rng)
        return _EditedPhoto(
            reference=images[0],
            labels=np.where(view_labels == IGNORE, 0, view_labels).astype(np.uint8),
            targets=images[1:],
            masks=[view_labels == edit.thing for edit in edits],
            texts=[edit.text for edit in edits],
            edits=[edit.kind for edit in edits],
        )

    def _draw(self, view: _Pixels, labels: _Pixels, things: Sequence[int], rng: np.random.Generator) -> list[_Edit]:
        """Draw different edits, on different objects if there are enough."""
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
        return make_noun(words[int(rng.random() * len(words))])

    def _things(self, labels: _Pixels, least: float | None = None) -> list[int]:
        """Find the objects in a view that are large enough to edit, in the order of their labels."""
        counts = np.bincount(labels.reshape(-1), minlength=len(self.names))[: len(self.names)]
        wanted = self.options.min_area * self.size**2 if least is None else least
        return [int(i) for i in np.flatnonzero((counts >= max(wanted, 4)) & self._editable)]

    def _view(self, photo: _Pixels, labels: _Pixels, rng: np.random.Generator) -> tuple[_Pixels, _Pixels]:
        """Return a letterboxed crop; for held-out photographs, the whole photograph."""
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
        """Draw a crop: left, top, width, height in pixels; it may reach beyond the photograph."""
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
class _EditedPhoto:
    reference: _Pixels
    labels: _Pixels
    targets: list[_Pixels]
    masks: list[_Mask]
    texts: list[str]
    edits: list[str]


def _no_label(name: str, names: Sequence[str]) -> str:
    return f"no label is called {name!r}; {did_you_mean(name, names)}they are {', '.join(names)}"


def _visible(kind: str, image: _Pixels, mask: _Mask) -> bool:
    """Return whether an edit visibly changes an object: a black one cannot be darkened, nor a gray one be grayed."""
    light, a, b = measure_mean_lab(image, mask)
    return {"darken": light > 22, "brighten": light < 78, "gray": np.hypot(a, b) > 18}.get(kind, True)  # type: ignore[no-any-return]
