"""Photographs with label masks that training keeps out, edited with a fixed seed, and generated ones in their place."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain.data.edits.nouns import make_noun
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet, batch_triplets, folder_triplets
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.sources.photo_folder import PhotoFolder
from mmgrad_explain.training.sources.photos import PhotoSource

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Labelled:
    """Folders of labelled photographs, and which of them training keeps out.

    Attributes:
        folders: With ``photos/``, ``labels/`` and ``labels.json``.
        settings: The config's options for photographs; they say what is held out.
        twins: File of the names of photographs that are there twice.
    """

    folders: tuple[Path, ...]
    settings: Any
    twins: str = ""

    def held_out(self) -> PhotoFolder:
        """Open the photographs that training keeps out."""
        first, *more = self.folders
        return PhotoFolder(first, more=more, twins=self.twins, holdout=self.settings.holdout, held_out=True)

    def edit(self, pictures: int, edits: int, min_area: float, size: int, seed: int) -> EditedPhotographs:
        """Edit held-out photographs; equal seeds give equal triplets."""
        count = min(pictures, len(self.held_out()))
        settings = replace(self.settings, pictures=count, edits=edits, min_area=min_area, pairs=0)
        first, *more = self.folders
        source = PhotoSource(first, size, settings, more=more, twins=self.twins, held_out=True)
        batch = source.batch(seed, 0)
        triplets = batch_triplets(batch)
        labels = [batch.reference_labels["object"][batch.picture[int(one.id)]][one.mask] for one in triplets]
        numbers = [int(np.bincount(of).argmax()) if of.size else 0 for of in labels]
        return EditedPhotographs(triplets, [make_noun(source.names[number]) for number in numbers])


@dataclass(frozen=True)
class EditedPhotographs:
    """Edits of photographs, and the noun of what each of them is about."""

    triplets: list[PhotoTriplet]
    nouns: list[str]


def labelled(
    folders: Sequence[Path], *, config: str, twins: str = "", holdout: float | None = None, plain: bool = False
) -> Labelled:
    """Take what a training config says of its photographs.

    Args:
        folders: Of photographs with labels.
        config: Name of the config, or its file.
        twins: File of the names of photographs that are there twice.
        holdout: Share that is held out, in place of the config's.
        plain: Leave out what the config says of single labels, which generated photographs do not have.
    """
    settings = load_config(config).sources["photos"]
    if holdout is not None:
        settings = replace(settings, holdout=holdout)
    if plain:
        settings = replace(settings, synonyms={}, alike=())
    return Labelled(tuple(folders), settings, twins)


def edits_of_objects(folder: Path, objects: Collection[str], fold: int | None = None) -> list[PhotoTriplet]:
    """Read the triplets of a set; with ``objects``, only those about objects of these classes."""
    triplets = folder_triplets(folder, fold=fold)
    if not objects:
        return triplets
    wanted = {triplet.id for triplet in read_triplets(folder, fold=fold) if triplet.class_name in objects}
    return [triplet for triplet in triplets if triplet.id in wanted]


def generated_folder(folder: Path, count: int = 8, *, lacking: float = 0.0) -> Path:
    """Write images of coloured patches with labels, in the layout of labelled photographs.

    Args:
        folder: A folder that is not there yet.
        count: Number of images.
        lacking: How often each of the three patches is left out; the ground is even then.
    """
    (folder / "photos").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "labels.json").write_text(json.dumps(["null", "jumper", "pants", "sneakers", "purse"]))
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(90, 160, (96, 72, 3), dtype=np.uint8)
        labels = np.zeros((96, 72), np.uint8)
        if lacking:
            pixels[:] = 240
        for label, top in enumerate((6, 36, 66), start=1):
            if lacking and rng.random() < lacking:
                continue
            left = int(rng.integers(4, 30))
            box = (slice(top, top + 24), slice(left, left + 30))
            pixels[box], labels[box] = rng.integers(0, 255, 3), label
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{i}.png")
    return folder
