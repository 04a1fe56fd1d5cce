"""Labelled photographs with further objects pasted on them, edited in training, told apart by side, size and colour.

The folder is that of :mod:`~mmgrad_explain.training.sources.photo_folder`. Objects are cut out of all photographs by
their labels; every step shows new crops with new objects at new places, and edits of them and of the photograph's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.data.batches.batch import IGNORE, ImageBatch, find_partners
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS, name_cells
from mmgrad_explain.data.edits.operations import apply_edit, pick_detail
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.training.sources.object_edits import OBJECT_EDITS, ObjectEditor
from mmgrad_explain.training.sources.object_scenes import (
    Cutout,
    Scene,
    Thing,
    cut_out,
    draw_place,
    find_components,
    is_free,
    mirrored,
    paste,
)
from mmgrad_explain.training.sources.object_texts import ObjectTexts
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, draw_round
from mmgrad_explain.training.sources.photo_views import crop, draw_box, letterbox, relight
from mmgrad_explain.training.sources.source import require_folder

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from mmgrad_explain.images.placement import FitImage
    from mmgrad_explain.training.sources.object_edits import ObjectEdit

    _Pixels = npt.NDArray[np.uint8]

_UNKNOWN = 254  # stands for IGNORE while bars are told from pixels whose label is not known
_SOLID = 0.2  # share of its box that a cut-out fills at least
_UNSURE = 0.7  # share of the surroundings of a cut-out whose label may be unknown
_SMALLEST = 700  # pixels of a cut-out
_FAIR = 20  # cut-outs of a label, from which on more of them make it no likelier


@dataclass(frozen=True)
class ObjectSourceOptions:
    """A folder of labelled photographs, with objects pasted on them.

    Attributes:
        folder: Folder with ``photos/``, ``labels/`` and ``labels.json``.
        more: Further such folders, with the same ``labels.json``.
        weight: How often the source is drawn, relative to the others.
        pictures: Photographs in a batch.
        edits: Edits of each photograph.
        zoom: Smallest and largest height of a crop, as a share of the photograph's height.
        pasted: Largest number of objects that are pasted on a photograph; a photograph without objects gets one.
        again: How often a pasted object is of a kind that is there already.
        areas: Smallest and largest area of a pasted object, as a share of the photograph.
        min_area: Smallest object that is edited, as a share of the model's input.
        recoloured: How often an object has another colour from the start.
        light: How much exposure, contrast and colour cast vary; 0 leaves them unchanged.
        kinds: How often each kind of edit is drawn, relative to the others.
        synonyms: Other words for a label's name.
        free: How often a sentence is a freer one, as people type them.
        holdout: Share of the photographs that are kept from training, for evaluation.
    """

    folder: str = ""
    more: tuple[str, ...] = ()
    weight: float = 1.0
    pictures: int = 8
    edits: int = 4
    zoom: tuple[float, float] = (0.5, 1.3)
    pasted: int = 3
    again: float = 0.45
    areas: tuple[float, float] = (0.008, 0.3)
    min_area: float = 0.003
    recoloured: float = 0.2
    light: float = 1.0
    kinds: dict[str, float] = field(default_factory=lambda: dict(OBJECT_EDITS))
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    free: float = 0.4
    holdout: float = 0.1

    knows_context: ClassVar[bool] = False
    knows_facts: ClassVar[bool] = False
    knows_regions: ClassVar[bool] = True
    compares_maps: ClassVar[bool] = False
    knows_paraphrases: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = True
    draws_images: ClassVar[bool] = True

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(OBJECT_EDITS))
        if unknown:
            hint = did_you_mean(unknown[0], OBJECT_EDITS)
            raise InputError(f"kinds: objects have no edit {unknown[0]!r}: {hint}use {', '.join(OBJECT_EDITS)}")
        if not self.kinds or min(self.kinds.values()) < 0 or not self.kinds.get("recolour", 0) > 0:
            raise InputError("kinds: give each kind how often it is drawn, from 0 on, and recolour above 0")
        if self.edits < 1 or self.pictures < 1 or self.pasted < 0:
            raise InputError("objects: pictures and edits must be at least 1, pasted at least 0")
        for name in ("again", "recoloured", "free", "holdout"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"objects.{name} is a share, 0 to 1, got {getattr(self, name)}")
        if not 0 < self.areas[0] <= self.areas[1] < 1:
            raise InputError(f"objects.areas must rise, between 0 and 1, got {list(self.areas)}")

    def build(
        self,
        name: str,
        size: int,
        *,
        labels: bool,  # noqa: ARG002
        held_out: bool,
        fit_image: FitImage | None = None,  # noqa: ARG002
    ) -> ObjectSource:
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; label maps are always there."""
        return ObjectSource(require_folder(name, self.folder), size, self, held_out=held_out)


@dataclass(frozen=True)
class _Place:
    """Where a cut-out comes from."""

    photo: int
    label: int
    part: int


class ObjectSource:
    """Batches of photographs with pasted objects and edits.

    Args:
        folder: Folder with photographs and labels.
        size: Side of the square images, pixels.
        options: See :class:`ObjectSourceOptions`.
        held_out: Give the photographs that are kept from training, whole and in their own light, with plain sentences.

    Raises:
        InputError: If a folder is not as described, or shows no object that could be cut out.
    """

    def __init__(
        self, folder: str | Path, size: int, options: ObjectSourceOptions | None = None, *, held_out: bool = False
    ) -> None:
        self.size = size
        self.options = options = options or ObjectSourceOptions()
        self.held_out = held_out
        self._photos = PhotoFolder(folder, more=options.more, holdout=options.holdout, held_out=held_out)
        self.names = self._photos.names
        for name in (name for name in options.synonyms if name not in self.names):
            raise InputError(
                f"objects.synonyms: no label is called {name!r}; {did_you_mean(name, self.names)}they are "
                f"{', '.join(self.names)}"
            )
        self._things = np.arange(len(self.names)) > 0
        self._texts = ObjectTexts(self.names, options.synonyms, 0.0 if held_out else options.free)
        self._cutouts = self._find_cutouts()
        counts = {label: min(len(places), _FAIR) for label, places in self._cutouts.items()}
        self._shares = np.sqrt(np.array(list(counts.values()), float))
        self._shares /= self._shares.sum()
        self._editor = ObjectEditor(options.edits, options.kinds, options.min_area * size**2, self._texts)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold."""
        return self._texts.vocabulary(range(1, len(self.names)), list(self.options.kinds))

    @property
    def label_classes(self) -> dict[str, int]:
        """Number of classes in each label map, background included."""
        return {"object": len(self.names), "pixel_colour": 1 + len(COLOUR_WORDS)}

    @property
    def facts(self) -> int:
        """Zero: nothing is known beside the labels."""
        return 0

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._photos)

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step; equal seeds and steps give equal batches.

        Each round through all photographs has a new order.
        """
        rng = np.random.default_rng([seed, step])
        references, labels, edits, picture = [], [], [], []
        for number, index in enumerate(draw_round(len(self), seed, step, self.options.pictures)):
            image, own, made = self._edit(index, rng)
            references.append(image)
            labels.append(own)
            edits += made
            picture += [number] * len(made)
        masks = np.stack([edit.mask for edit in edits])
        targets = np.stack([edit.target for edit in edits])
        shown = np.stack(references)
        numbers = np.array(picture, np.int64)
        return ImageBatch(
            references=shown,
            targets=targets,
            reference_masks=masks,
            target_masks=np.stack([edit.target_mask for edit in edits]),
            texts=[edit.text for edit in edits],
            edits=[edit.kind for edit in edits],
            picture=numbers,
            partner=find_partners(masks, numbers),
            supervised=np.asarray(masks.any((1, 2)), bool),
            reference_labels={"object": np.stack(labels), "pixel_colour": name_cells(shown)},
            target_labels={"object": np.stack([edit.labels for edit in edits]), "pixel_colour": name_cells(targets)},
        )

    # --------------------------------------------------------------------------------------------------------- cut-outs

    def _find_cutouts(self) -> dict[int, list[_Place]]:
        """Find the objects that can be cut out of the photographs, by label."""
        found: dict[int, list[_Place]] = {}
        with Bar() as bar:
            for number in range(len(self._photos)):
                labels = self._photos[number][1]
                parts = find_components(labels, self._things, max(_SMALLEST, 0.01 * labels.size))
                for part, (label, mask) in enumerate(parts):
                    if _stands_alone(mask) and _is_sure(labels, mask):
                        found.setdefault(label, []).append(_Place(number, label, part))
                bar.show("photographs", number + 1, len(self._photos))
        if not found:
            raise InputError(f"{self._photos.folder}: no labelled object is large enough to be cut out")
        return dict(sorted(found.items()))

    def _draw_cutout(self, rng: np.random.Generator, label: int | None = None, not_label: int | None = None) -> Cutout:
        """Draw a cut-out: of a label, or of any other one."""
        while label is None or label not in self._cutouts:
            label = int(rng.choice(list(self._cutouts), p=self._shares))
            if label == not_label and len(self._cutouts) > 1:
                label = None
        places = self._cutouts[label]
        place = places[int(rng.integers(len(places)))]
        photo, labels = self._photos[place.photo]
        parts = find_components(labels, self._things, max(_SMALLEST, 0.01 * labels.size))
        cutout = cut_out(photo, parts[place.part][1], label)
        return mirrored(cutout) if rng.random() < 0.5 else cutout

    # ---------------------------------------------------------------------------------------------------------- scenes

    def _edit(self, index: int, rng: np.random.Generator) -> tuple[_Pixels, _Pixels, list[ObjectEdit]]:
        """Return a view of a photograph with objects, its label map, and its edits."""
        options = self.options
        scene = self._view(index, rng)
        count = int(rng.integers(options.pasted + 1)) if scene.own else 1 + int(rng.integers(max(options.pasted, 1)))
        for _ in range(count):
            scene = self._paste(scene, rng, least=int(not scene.own and not scene.pasted))
        spare = self._paste(scene, rng).pasted[len(scene.pasted) :] if options.kinds.get("add") else ()
        other = self._draw_cutout(rng) if options.kinds.get("replace") else None
        image, labels, edits = self._editor.edit(scene, spare, other, rng)
        if not self.held_out:
            images = relight([image, *(edit.target for edit in edits)], ~scene.view, options.light, rng)
            image = images[0]
            edits = [replace(edit, target=lit) for edit, lit in zip(edits, images[1:], strict=True)]
        return image, labels, edits

    def _view(self, index: int, rng: np.random.Generator) -> Scene:
        """Return a crop of a photograph with its own objects; a held-out one is shown whole."""
        photo, labels = self._photos[index]
        if self.held_out:
            view, marked = letterbox(photo, np.where(labels == IGNORE, _UNKNOWN, labels).astype(np.uint8), self.size)
        else:
            box = draw_box(labels, self._things, self.options.zoom, 0.5, 0.0, rng)
            view, marked = crop(photo, np.where(labels == IGNORE, _UNKNOWN, labels).astype(np.uint8), box, rng)
            view, marked = letterbox(view, marked, self.size)
            if rng.random() < 0.5:
                view, marked = np.ascontiguousarray(view[:, ::-1]), np.ascontiguousarray(marked[:, ::-1])
        inside = marked != IGNORE
        own_labels = np.where(inside, np.where(marked == _UNKNOWN, IGNORE, marked), 0).astype(np.uint8)
        parts = find_components(own_labels, self._things, self.options.min_area * self.size**2)
        alone = [label for label, _ in parts]
        own = [Thing(label, own_labels == label if alone.count(label) == 1 else mask) for label, mask in parts]
        if not self.held_out:
            for thing in own:
                if rng.random() < self.options.recoloured:
                    colour = pick_detail(rng, "recolour", view, thing.mask)
                    view = apply_edit("recolour", view, thing.mask, colour, rng)
        return Scene(view, own_labels, tuple(own), (), inside)

    def _paste(self, scene: Scene, rng: np.random.Generator, *, least: int = 0) -> Scene:
        """Paste an object, where there is room; with ``least``, in any case."""
        there = [thing.label for thing in (*scene.own, *scene.pasted)]
        again = bool(there) and rng.random() < self.options.again
        label = there[int(rng.integers(len(there)))] if again else None
        twins = [thing.cutout for thing in scene.pasted if thing.label == label and thing.cutout is not None]
        cutout = twins[0] if twins and rng.random() < 0.3 else self._draw_cutout(rng, label)
        if rng.random() < self.options.recoloured and not self.held_out:
            solid = cutout.alpha > 0.5
            if solid.any():
                colour = pick_detail(rng, "recolour", cutout.pixels, solid)
                cutout = replace(cutout, pixels=apply_edit("recolour", cutout.pixels, solid, colour, rng))
        _, _, things = scene.render()
        for attempt in range(6):
            place = draw_place(rng, cutout, scene.view, self.options.areas)
            _, alpha = paste(scene.ground, cutout, place, scene.view)
            if is_free(alpha, things) or (least and attempt == 5):
                return replace(scene, pasted=(*scene.pasted, Thing(cutout.label, alpha > 0.5, cutout, place)))
        return scene


def _is_sure(labels: _Pixels, mask: npt.NDArray[np.bool_]) -> bool:
    """Return whether few pixels around an object are of no known label."""
    import cv2

    width = max(3, round(0.08 * float(np.sqrt(mask.sum()))))
    around = cv2.dilate(mask.astype(np.uint8), np.ones((2 * width + 1,) * 2, np.uint8)).astype(bool) & ~mask
    return bool((labels[around] == IGNORE).mean() < _UNSURE) if around.any() else True


def _stands_alone(mask: npt.NDArray[np.bool_]) -> bool:
    """Return whether an object is whole enough to be cut out: it touches two edges of the image at most."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    edges = sum(int(edge.sum() > 0.02 * len(edge)) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return edges <= 2 and mask.sum() >= _SOLID * box and mask.sum() < 0.7 * mask.size
