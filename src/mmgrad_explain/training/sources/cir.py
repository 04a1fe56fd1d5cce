"""Composed-retrieval sets as a source of training data: published splits, pairs of any two sizes, soft masks."""

from __future__ import annotations

import os
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.data.batches.batch import ImageBatch, find_partners
from mmgrad_explain.data.cir.formats import FORMATS, read_cir
from mmgrad_explain.data.edit_sides import names_side
from mmgrad_explain.data.masks.cache import load_masks, make_masks
from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.images.placement import fit
from mmgrad_explain.training.sources.cir_options import CirOptions, draw_text
from mmgrad_explain.training.sources.photo_folder import draw_round, share_of_name
from mmgrad_explain.training.sources.source import require_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmgrad_explain.data.cir.dataset import CirSet, CirTriplet
    from mmgrad_explain.data.masks.cache import MaskCache
    from mmgrad_explain.images.placement import FitImage, Placement

    _Pixels = npt.NDArray[np.uint8]
    _Query = tuple[str, int, CirTriplet]  # part, number of its first caption in the part's masks, query

CHANGE = "change"
"""Kind of the edits of a set that names none. Where a mask is on the target only, it is ``add``."""

_CACHE_BYTES = 512 * 2**20  # of resized images, in each process


@dataclass(frozen=True)
class CirSourceOptions(CirOptions):
    """Options of the source; see :class:`~mmgrad_explain.training.sources.cir_options.CirOptions`."""

    knows_context: ClassVar[bool] = False
    knows_facts: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = True
    draws_images: ClassVar[bool] = False

    def build(
        self,
        name: str,
        size: int,
        *,
        labels: bool,  # noqa: ARG002
        held_out: bool,
        fit_image: FitImage | None = None,
    ) -> CirSource:
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; there are no label maps."""
        folder = require_folder(name, self.folder)
        if not self.set:
            raise InputError(f"sources.{name}.set is missing: say what the folder holds, one of {', '.join(FORMATS)}")
        return CirSource(folder, size, self, held_out=held_out, fit_image=fit_image)


class CirSource:
    """Batches of a composed-retrieval set.

    Args:
        folder: Its folder.
        size: Side of the square images, pixels.
        options: See :class:`CirSourceOptions`.
        held_out: Give the published held-out split, or where there is none the images that are kept from training;
            never mirrored, and with their captions joined as they are evaluated.
        fit_image: How images of any shape are brought to that size; None letterboxes them.

    Raises:
        InputError: The folder holds nothing of the set, images are missing, or no query is left.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        options: CirOptions,
        *,
        held_out: bool = False,
        fit_image: FitImage | None = None,
    ) -> None:
        self._fit = fit_image or partial(fit, size=size)
        self.size, self.options, self.held_out = size, options, held_out
        self._data, shared = _read(folder, options, held_out=held_out)
        usable = _usable(self._data, options)
        self.vocabulary = tuple(sorted({word for *_, query in usable for word in _words_of(query)}))
        holdout = options.holdout if shared else 0.0
        self._groups: dict[str, list[_Query]] = {}
        for entry in usable:
            query = entry[2]
            is_held = share_of_name(query.reference) < holdout
            trained_on = not is_held and share_of_name(query.target or "") >= holdout
            if not shared or (is_held if held_out else trained_on):
                self._groups.setdefault(query.reference, []).append(entry)
        if not self._groups:
            part = "held out" if held_out else "left to train on"
            raise InputError(f"{folder}: none of {len(usable)} queries is {part}; choose another split or holdout")
        self._names = list(self._groups)
        self._ids = _number_answers(self._data)
        self.masks = self._open_masks()
        self._cache: OrderedDict[str, tuple[_Pixels, Placement]] = OrderedDict()

    @property
    def label_classes(self) -> dict[str, int]:
        """These sets have no label maps."""
        return {}

    @property
    def facts(self) -> int:
        """Zero: these sets do not say what their images show."""
        return 0

    def __len__(self) -> int:
        """Number of reference images."""
        return len(self._names)

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step; equal seeds and steps give equal batches.

        Each round through all references has a new order. Queries of one reference in a batch have different targets.
        """
        rng = np.random.default_rng([seed, step])
        images, rows, pictures, names = [], [], [], []
        drawn = draw_round(len(self), seed, step, min(self.options.pictures, len(self)))
        for number, name in enumerate(self._names[index] for index in drawn):
            own = self._choose(self._groups[name], rng)
            captions = "joined" if self.held_out else self.options.captions
            texts = [draw_text(query, captions, rng) for *_, query in own]
            plain = [not names_side(f"{text} {again}") for text, again, _ in texts]
            mirrored = not self.held_out and rng.random() < self.options.flip and all(plain)
            step_of = -1 if mirrored else 1
            images.append(self._read(name)[0][:, ::step_of])
            names.append(name)
            for entry, text, is_plain in zip(own, texts, plain, strict=True):
                pair = self._read_masks(entry, text[2])
                target = self._read(entry[2].target or "")[0]
                rows.append((target[:, ::step_of], *(one[:, ::step_of] for one in pair), text, entry[2], is_plain))
                pictures.append(number)
        targets, before, after, drawn_texts, queries, mirrorable = zip(*rows, strict=True)
        picture = np.array(pictures, np.int64)
        masks = np.stack(before)
        on_both = [(bool(one.any()), bool(two.any())) for one, two in zip(before, after, strict=True)]
        return ImageBatch(
            references=np.stack(images),
            targets=np.stack(targets),
            reference_masks=masks,
            target_masks=np.stack(after),
            texts=[text for text, *_ in drawn_texts],
            edits=[_edit(query, *on) for query, on in zip(queries, on_both, strict=True)],
            picture=picture,
            partner=find_partners(masks, picture),
            supervised=np.array([any(on) for on in on_both], bool),
            paraphrases=[again for _, again, _ in drawn_texts],
            mirrorable=np.array(mirrorable, bool),
            reference_ids=np.array([self._ids[name] for name in names], np.int64),
            target_ids=np.array([self._ids[query.target or ""] for query in queries], np.int64),
        )

    def _choose(self, group: Sequence[_Query], rng: np.random.Generator) -> list[_Query]:
        """Draw some queries of a reference, no two with the same answer."""
        chosen: dict[int, _Query] = {}
        for index in rng.permutation(len(group)):
            chosen.setdefault(self._ids[group[int(index)][2].target or ""], group[int(index)])
        return list(chosen.values())[: self.options.edits]

    def _open_masks(self) -> MaskCache | None:
        """Open the masks, after making those that are not there; None where the options name no maker."""
        options = self.options
        if not options.knows_regions:
            return None
        parts = list(self._data.queries)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return load_masks(self._data, parts, options.settings, options.masks_folder)
        with Bar() as bar:
            return make_masks(
                self._data, parts, options.settings, options.masks_folder,
                progress=lambda done, of: bar.show("masks", done, of),
            )  # fmt: skip

    def _read_masks(self, entry: _Query, captions: Sequence[int]) -> list[npt.NDArray[np.float32]]:
        """Return the masks of reference and target at the size of the model's input: the union over the captions."""
        part, first, query = entry
        if self.masks is None:
            return [np.zeros((self.size, self.size), np.float32)] * 2
        drawn = np.stack([self.masks.read(part, first + caption) for caption in captions]).max(0)
        placements = self._read(query.reference)[1], self._read(query.target or "")[1]
        return [
            np.clip(placement.of_copy((mask.shape[0], mask.shape[1])).to_input(mask), 0, 1)
            for placement, mask in zip(placements, drawn, strict=True)
        ]

    def _read(self, image: str) -> tuple[_Pixels, Placement]:
        """Return an image at the size of the model's input, from the cache if it was read recently."""
        if image in self._cache:
            self._cache.move_to_end(image)
            return self._cache[image]
        fitted, placement = self._fit(Image.fromarray(read_pixels(self._data.images.path(image))))
        self._cache[image] = np.asarray(fitted), placement
        if len(self._cache) * 3 * self.size**2 > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return self._cache[image]


def _read(folder: str | Path, options: CirOptions, *, held_out: bool) -> tuple[CirSet, bool]:
    """Read the split to train on, or the one that is held out; and whether it is one and the same."""
    own, other = _find_splits(folder, options)
    published = None if other is None else _read_judged(folder, options, other)
    if held_out and published is not None:
        return published, False
    return read_cir(options.set, folder, own, options.categories), published is None


def _find_splits(folder: str | Path, options: CirOptions) -> tuple[list[str], str | None]:
    """Find the split to train on, none for all of a set without splits, and the published one that is held out."""
    if options.set != "jsonl":
        known = FORMATS[options.set]
        own = known.other_names.get(options.split, options.split)
        return [own], known.evaluated if known.evaluated != own else None
    splits = read_cir("jsonl", folder).queries
    if options.split not in splits:
        return [], None
    others = [one for one in ("val", "dev", "test") if one in splits and one != options.split]
    return [options.split], others[0] if others else None


def _read_judged(folder: str | Path, options: CirOptions, split: str) -> CirSet | None:
    """Read a split; None if it is not there, or its targets are not public."""
    try:
        found = read_cir(options.set, folder, [split], options.categories)
    except InputError:
        return None
    return found if any(query.target for queries in found.queries.values() for query in queries) else None


def _usable(data: CirSet, options: CirOptions) -> list[_Query]:
    """List the queries to train on; the others are refused, or counted in a warning."""
    usable, lacking, silent = [], [], 0
    for part, queries in data.queries.items():
        first = 0
        for query in queries:
            there = sum(bool(caption.strip()) for caption in query.captions)
            images = (query.reference, query.target)
            if any(image is None or image in data.images.missing or image not in data.images.paths for image in images):
                lacking.append(f"{query.id} of {part}")
            elif there:
                usable.append((part, first, query))
            else:
                silent += 1
            first += there if query.target is not None else 0
    if lacking and not any(query.target for queries in data.queries.values() for query in queries):
        parts = ", ".join(data.queries)
        raise InputError(f"{data.root}: the targets of {parts} are not public: choose another split to train on")
    if lacking and options.missing == "refuse":
        raise InputError(
            f"{data.root}: {len(lacking)} queries lack an image or their target, the first {lacking[0]}: see "
            f"`mmgrad-explain data check {data.name} {data.root}`, or leave them out with missing: leave-out"
        )
    if lacking or silent:
        warnings.warn(
            f"{data.root}: {len(lacking)} queries without an image or a target and {silent} without a word are left "
            f"out, {len(usable)} are used",
            MMGradWarning,
            stacklevel=4,
        )
    return usable


def _number_answers(data: CirSet) -> dict[str, int]:
    """Number the images; those that are right answers of one query have one number."""
    parent: dict[str, str] = {}

    def find(image: str) -> str:
        while parent.setdefault(image, image) != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for queries in data.queries.values():
        for query in queries:
            find(query.reference)
            for image in query.relevant:
                parent[find(image)] = find(query.relevant[0])
    numbers: dict[str, int] = {}
    return {image: numbers.setdefault(find(image), len(numbers)) for image in list(parent)}


def _edit(query: CirTriplet, on_reference: bool, on_target: bool) -> str:  # noqa: FBT001
    return query.edit or ("add" if on_target and not on_reference else CHANGE)


def _words_of(query: CirTriplet) -> set[str]:
    return {word for text in (*query.captions, *query.paraphrases, "and") for word in re.findall(r"\w+", text.lower())}
