"""Labelled photographs that are edited during training: every step shows new crops with new edits.

The folder is that of :mod:`~mmgrad_explain.training.sources.photo_folder`. Crops differ in size, some are mirrored, and
the light changes. Some objects are recoloured in the reference as well, so that no colour gives the edit away.

With ``pairs``, further triplets have another, real photograph as their target, labelled or tagged, and every image
comes with facts on what it shows (:mod:`~mmgrad_explain.training.sources.photo_facts`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.data.batches.batch import IGNORE, ImageBatch, find_partners
from mmgrad_explain.data.batches.facts import UNKNOWN, Facts
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS, name_cells
from mmgrad_explain.errors import InputError, MMGradWarning, did_you_mean
from mmgrad_explain.training.sources.photo_editing import Edit, EditedPhoto, PhotoEditor
from mmgrad_explain.training.sources.photo_facts import FactNumbers
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, draw_round
from mmgrad_explain.training.sources.photo_options import PhotoOptions
from mmgrad_explain.training.sources.photo_pairs import PairDrawer, find_middles
from mmgrad_explain.training.sources.photo_texts import PhotoTexts
from mmgrad_explain.training.sources.photo_views import letterbox, relight, set_beside
from mmgrad_explain.training.sources.source import require_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmgrad_explain.images.placement import FitImage
    from mmgrad_explain.training.sources.photo_pairs import Pair

_MOST_BESIDE = 120  # labels; those of a second photograph are raised by their number


@dataclass(frozen=True)
class PhotoSourceOptions(PhotoOptions):
    """A folder of labelled photographs as a source in a config. Further keys: see :class:`PhotoOptions`.

    Attributes:
        folder: Folder with ``photos/``, ``labels/`` and ``labels.json``; with ``tagged/`` and ``tags.json`` too,
            ``pairs`` take these photographs as targets.
        more: Further such folders, with the same ``labels.json``.
        twins: A JSON file of lists of names of photographs that show the same: one of each list is used.
        weight: How often the source is drawn, relative to the others.
    """

    folder: str = ""
    more: tuple[str, ...] = ()
    twins: str = ""
    weight: float = 1.0

    knows_context: ClassVar[bool] = False
    knows_regions: ClassVar[bool] = True
    compares_maps: ClassVar[bool] = False
    knows_paraphrases: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = False
    draws_images: ClassVar[bool] = True

    def build(
        self,
        name: str,
        size: int,
        *,
        labels: bool,  # noqa: ARG002
        held_out: bool,
        fit_image: FitImage | None = None,  # noqa: ARG002
    ) -> PhotoSource:
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; label maps are always there."""
        folder = require_folder(name, self.folder)
        return PhotoSource(folder, size, self, more=self.more, twins=self.twins, held_out=held_out)

    @property
    def knows_facts(self) -> bool:
        """With ``pairs``, images come with facts."""
        return self.pairs > 0


class PhotoSource:
    """Batches of edited photographs.

    Args:
        folder: Folder with photographs and labels.
        size: Side of the square images, pixels.
        options: See :class:`PhotoOptions`.
        more: Further folders.
        twins: File of the names of photographs that are there twice.
        held_out: Give the photographs that are kept from training, whole and in their own light, with plain edits.

    Raises:
        InputError: If a folder is not as described, or an option is wrong.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        options: PhotoOptions | None = None,
        *,
        more: Sequence[str | Path] = (),
        twins: str | Path = "",
        held_out: bool = False,
    ) -> None:
        self.size = size
        self.options = options or PhotoOptions()
        self.held_out = held_out
        drawn = self.options.pairs > 0 and not held_out
        self._photos = PhotoFolder(
            folder, more=more, twins=twins, holdout=self.options.holdout, held_out=held_out, tagged=drawn
        )
        self.names = self._photos.names
        for name in (name for name in self.options.exclude if name not in (*self.names, *PhotoOptions.exclude)):
            raise InputError(f"photos.exclude: {_no_label(name, self.names)}")
        for option, named in (("synonyms", self.options.synonyms), ("alike", chain(*self.options.alike))):
            for name in dict.fromkeys(name for name in named if name not in self.names):
                warnings.warn(
                    f"photos.{option}: {_no_label(name, self.names)}; it is left out", MMGradWarning, stacklevel=2
                )
        if self.options.beside and len(self.names) > _MOST_BESIDE:
            raise InputError(f"photos.beside needs at most {_MOST_BESIDE} labels, and there are {len(self.names)}")
        excluded = set(self.options.exclude)
        self._editable = np.array([name not in excluded and i > 0 for i, name in enumerate(self.names)])
        self._texts = PhotoTexts(self.names, self.options.synonyms, 0.0 if held_out else self.options.free)
        self._numbers = FactNumbers(self.names, self.options.alike)
        self._known: dict[int, npt.NDArray[np.int8]] = {}
        self._pairs: PairDrawer | None = None
        if drawn:
            table, middles = self._read_facts()
            often = (table[:, : len(self.names)] == 1).sum(0) >= self.options.least
            self._editable &= often
            self._pairs = PairDrawer(self._numbers, table, middles, self._editable, self.options.pair_kinds)
        self._editor = PhotoEditor(size, self.options, self._editable, self._texts, self._numbers, held_out=held_out)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold."""
        options = self.options
        kinds = [*options.kinds, *(options.pair_kinds if options.pairs else ())]
        return self._texts.vocabulary(np.flatnonzero(self._editable).tolist(), kinds, sides=options.beside > 0)

    @property
    def label_classes(self) -> dict[str, int]:
        """Number of classes in each label map, background included."""
        return {"object": len(self.names), "pixel_colour": 1 + len(COLOUR_WORDS)}

    @property
    def facts(self) -> int:
        """Number of facts on each image; 0 without pairs."""
        return self._numbers.count if self.options.pairs else 0

    def __len__(self) -> int:
        """Number of photographs with labels."""
        return self._photos.labelled

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step; equal seeds and steps give equal batches.

        Each round through all labelled photographs has a new order.
        """
        rng = np.random.default_rng([seed, step])
        edited = [self._edit(index, rng) for index in draw_round(len(self), seed, step, self.options.pictures)]
        edits = [edit for photo in edited for edit in photo.edits]
        masks = np.stack([edit.mask for edit in edits])
        after = np.stack([edit.mask if edit.target_mask is None else edit.target_mask for edit in edits])
        picture = np.arange(len(edited)).repeat([len(photo.edits) for photo in edited])
        references = np.stack([photo.reference for photo in edited])
        targets = np.stack([edit.target for edit in edits])
        return ImageBatch(
            references=references,
            targets=targets,
            reference_masks=masks,
            target_masks=after,
            texts=[edit.text for edit in edits],
            edits=[edit.kind for edit in edits],
            picture=picture,
            partner=find_partners(masks, picture),
            supervised=np.asarray((masks | after).any((1, 2)), bool),
            reference_labels={
                "object": np.stack([photo.labels for photo in edited]),
                "pixel_colour": name_cells(references),
            },
            target_labels={"object": np.stack([edit.labels for edit in edits]), "pixel_colour": name_cells(targets)},
            facts=self._join_facts(edited, edits) if self.options.pairs else None,
        )

    def _join_facts(self, edited: Sequence[EditedPhoto], edits: Sequence[Edit]) -> Facts:
        return Facts(
            torch.from_numpy(np.stack([photo.facts for photo in edited])),
            torch.from_numpy(np.stack([edit.facts for edit in edits])),
            torch.from_numpy(np.stack([edit.asks for edit in edits])),
            torch.tensor([photo.number for photo in edited]),
            torch.tensor([edit.number for edit in edits]),
            len(self.names),
        )

    # ---------------------------------------------------------------------------------------------------------- facts

    def _read_facts(self) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        """Return the facts on all photographs, and the typical height of each label's middle."""
        heights: list[list[float]] = [[] for _ in self.names]
        with Bar() as bar:
            for index in range(len(self._photos)):
                self._facts_of(index)
                for label, middle in find_middles(self._photos[index][1]) if index < len(self) else ():
                    heights[label].append(middle)
                bar.show("photographs", index + 1, len(self._photos))
        middles = np.array([np.median(of) if of else np.nan for of in heights])
        return np.stack([self._facts_of(index) for index in range(len(self._photos))]), middles

    def _facts_of(self, index: int) -> npt.NDArray[np.int8]:
        """Return the facts on a photograph, remembered after the first time."""
        if index not in self._known:
            file = self._photos.files[index]
            self._known[index] = (
                self._numbers.of_tags(file.tags)
                if file.labels is None
                else self._numbers.of_labels(*self._photos[index])
            )
        return self._known[index]

    # ---------------------------------------------------------------------------------------------------------- edits

    def _edit(self, index: int, rng: np.random.Generator) -> EditedPhoto:
        """Return a view of a photograph and its edits; if nothing in it can be edited, of the next photograph."""
        for following in range(len(self)):
            number = (index + following) % len(self)
            photo, labels = self._photos[number]
            facts = self._facts_of(number) if self.options.pairs else self._numbers.ask()
            beside = not self.held_out and self.options.beside > 0 and rng.random() < self.options.beside
            if beside:
                other = self._photos[int(rng.integers(len(self)))]
                photo, labels = set_beside((photo, labels), other, len(self.names))
                number, facts = UNKNOWN, self._numbers.ask()
            view, view_labels = self._editor.view(photo, labels, rng)
            things = self._editor.find_things(view_labels)
            if not things:  # the crop has no object: take the whole photograph, and objects of any size
                view, view_labels = letterbox(photo, labels, self.size)
                things = self._editor.find_things(view_labels) or self._editor.find_things(view_labels, least=1)
            if things:
                break
        else:
            raise InputError(
                "the photographs' labels show nothing that may be edited: exclude fewer names, or lower least"
            )
        if not beside and self.options.pairs:
            facts = self._numbers.in_view(facts, labels, view_labels)
        edited = self._editor.edit(view, view_labels, things, facts, number, rng)
        if self._pairs is not None and not beside:
            for _ in range(self.options.pairs):
                pair = self._pairs.draw(rng, number, edited.facts, things)
                if pair is not None:
                    edited.edits.append(self._pair(pair, edited, things, rng))
        return edited

    def _pair(self, pair: Pair, edited: EditedPhoto, things: Sequence[int], rng: np.random.Generator) -> Edit:
        """Make a triplet of a reference and another photograph."""
        photo, labels = self._photos[pair.other]
        tagged = bool((labels == IGNORE).all())
        view, marked, facts = self._other_view(pair, photo, np.zeros_like(labels) if tagged else labels, rng)
        bars = marked == IGNORE
        view_labels = np.where(bars, 0, marked).astype(np.uint8)
        own = None if pair.gone is None else self._numbers.colour_of(edited.facts, pair.gone)
        text = self._texts.pair(rng, pair.kind, pair.gone, pair.come, pair.colour, things, own)
        nothing = np.zeros(view_labels.shape, bool)
        return Edit(
            kind=pair.kind,
            text=text,
            target=relight([view], bars, self.options.light, rng)[0],
            mask=nothing if pair.gone is None else edited.labels == pair.gone,
            target_mask=nothing if pair.come is None else view_labels == pair.come,
            labels=np.full_like(view_labels, IGNORE) if tagged else view_labels,
            facts=facts,
            asks=pair.asks,
            number=pair.other,
        )

    def _other_view(
        self, pair: Pair, photo: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
        """Return a view of the other photograph that still is what the text asks for, its labels, and its facts."""
        known = self._facts_of(pair.other)
        asked = pair.asks != UNKNOWN
        if labels.any() and rng.random() < 0.5:
            view, view_labels = self._editor.view(photo, labels, rng)
            facts = self._numbers.in_view(known, labels, view_labels)
            if (facts[asked] == pair.asks[asked]).all():
                return view, view_labels, facts
        if rng.random() < 0.5:
            photo, labels = np.ascontiguousarray(photo[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
        return *letterbox(photo, labels, self.size), known


def _no_label(name: str, names: Sequence[str]) -> str:
    return f"no label is called {name!r}; {did_you_mean(name, names)}they are {', '.join(names)}"
