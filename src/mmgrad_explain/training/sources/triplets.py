"""A folder of triplets, as ``mmgrad-explain data`` writes it, as a source of training data."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from mmgrad_explain.data.batches.batch import ImageBatch, find_partners
from mmgrad_explain.data.edit_sides import names_side
from mmgrad_explain.data.triplets import read_triplets, split_image_path
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import fit
from mmgrad_explain.training.sources.photo_folder import draw_round, share_of_name
from mmgrad_explain.training.sources.source import require_folder

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from mmgrad_explain.data.triplets import Triplet
    from mmgrad_explain.images.placement import FitImage

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]
    _Sample = tuple[_Pixels, _Pixels, _Mask]

_CACHE_BYTES = 512 * 2**20  # of resized images, in each process


@dataclass(frozen=True)
class TripletSourceOptions:
    """A folder of triplets as ``mmgrad-explain data`` writes them.

    Attributes:
        folder: The folder.
        weight: How often the source is drawn, relative to the others.
        pictures: Reference images in a batch.
        edits: Largest number of triplets of each reference in a batch.
        flip: How often an image is mirrored, if no text names left or right.
        holdout: Share of the reference images that are kept from training, for evaluation.
    """

    folder: str = ""
    weight: float = 1.0
    pictures: int = 24
    edits: int = 4
    flip: float = 0.5
    holdout: float = 0.1

    knows_context: ClassVar[bool] = False
    knows_facts: ClassVar[bool] = False
    knows_regions: ClassVar[bool] = True
    compares_maps: ClassVar[bool] = False
    knows_paraphrases: ClassVar[bool] = False
    has_own_edits: ClassVar[bool] = True
    draws_images: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.edits < 1:
            raise InputError("triplets: pictures and edits must be at least 1")

    def build(
        self,
        name: str,
        size: int,
        *,
        labels: bool,  # noqa: ARG002
        held_out: bool,
        fit_image: FitImage | None = None,
    ) -> TripletSource:
        """See :class:`~mmgrad_explain.training.sources.source.SourceOptions`; there are no label maps."""
        return TripletSource(require_folder(name, self.folder), size, self, held_out=held_out, fit_image=fit_image)


class TripletSource:
    """Batches of triplets from a folder; those of one reference are hard negatives of each other.

    Args:
        folder: Folder with ``triplets.jsonl``.
        size: Side of the square images, pixels.
        options: See :class:`TripletSourceOptions`.
        held_out: Give the images that are kept from training, never mirrored.
        fit_image: How images are brought to that size; None letterboxes them.

    Raises:
        InputError: If the folder holds no triplets, or none of this part.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        options: TripletSourceOptions | None = None,
        *,
        held_out: bool = False,
        fit_image: FitImage | None = None,
    ) -> None:
        self._fit = fit_image or partial(fit, size=size)
        self.size = size
        self.options = options or TripletSourceOptions()
        self.held_out = held_out
        every = read_triplets(folder)
        self.vocabulary = tuple(sorted({word for triplet in every for word in _words(triplet.text)}))
        self._groups: dict[str, list[Triplet]] = {}
        for triplet in every:
            photograph = triplet.source_image or triplet.reference
            if (share_of_name(photograph) < self.options.holdout) == held_out:
                self._groups.setdefault(triplet.reference, []).append(triplet)
        if not self._groups:
            part = "held out" if held_out else "left to train on"
            raise InputError(f"{folder}: none of {len(every)} triplets is {part}; choose another holdout")
        self._names = sorted(self._groups, key=_sort_key)
        self._cache: OrderedDict[str, _Sample] = OrderedDict()

    @property
    def label_classes(self) -> dict[str, int]:
        """A folder of triplets has no label maps."""
        return {}

    @property
    def facts(self) -> int:
        """Number of facts on each image: 0, because a folder of triplets has none."""
        return 0

    def __len__(self) -> int:
        """Number of reference images."""
        return len(self._names)

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step; equal seeds and steps give equal batches.

        Each round through all references has a new order. A batch has fewer triplets if a reference has fewer than
        ``edits``.
        """
        rng = np.random.default_rng([seed, step])
        references, samples, chosen, reference_of = [], [], [], []
        for number, index in enumerate(draw_round(len(self), seed, step, min(self.options.pictures, len(self)))):
            group = self._groups[self._names[index]]
            own = [group[int(i)] for i in rng.permutation(len(group))[: self.options.edits]]
            mirrored = not self.held_out and rng.random() < self.options.flip
            mirrored = mirrored and not any(names_side(triplet.text) for triplet in own)
            read = [_mirror(self._read(triplet)) if mirrored else self._read(triplet) for triplet in own]
            references.append(read[0][0])
            samples += read
            chosen += own
            reference_of += [number] * len(own)
        masks = np.stack([mask for _, _, mask in samples])
        reference_index = np.array(reference_of, np.int64)
        return ImageBatch(
            references=np.stack(references),
            targets=np.stack([target for _, target, _ in samples]),
            reference_masks=masks,
            target_masks=masks,
            texts=[triplet.text for triplet in chosen],
            edits=[triplet.edit for triplet in chosen],
            picture=reference_index,
            partner=find_partners(masks, reference_index),
            supervised=np.asarray(masks.any((1, 2)), bool),
        )

    def _read(self, triplet: Triplet) -> _Sample:
        """Return images and mask at the size of the model's input, from the cache if they were read recently."""
        if triplet.id in self._cache:
            self._cache.move_to_end(triplet.id)
            return self._cache[triplet.id]
        reference, target, mask = triplet.read_images()
        before, placement = self._fit(Image.fromarray(reference))
        after, _ = self._fit(Image.fromarray(target))
        sample = np.asarray(before), np.asarray(after), placement.to_input(mask) >= 0.5
        self._cache[triplet.id] = sample
        if len(self._cache) * 7 * self.size**2 > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return sample


def _mirror(sample: _Sample) -> _Sample:
    reference, target, mask = sample
    return reference[:, ::-1], target[:, ::-1], mask[:, ::-1]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _sort_key(path: str) -> tuple[str, int]:
    """Return a key that sorts images by file, and within a stack by number, so that all formats have one order."""
    file, index = split_image_path(path)
    return file, -1 if index is None else index
