"""Photographs with object masks in memory: what the readers of instance data sets return.

Masks are decoded on demand. Everything that is wrong with a file is reported; nothing is left out in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.data.instances.masks import colour_ids, decode_segmentation
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mmgrad_explain.data.instances.masks import Mask


@dataclass(frozen=True)
class Instance:
    """One object of a photograph.

    Attributes:
        image: The photograph's file.
        mask: (H, W) bool, in the photograph's pixels.
        class_name: As the data set writes it.
        is_thing: Whether it can be counted (a dog), in contrast to stuff (grass).
        is_crowd: Whether the mask holds several objects of the class that were not separated.
        licence: The photograph's, or None if the data set has none.
        editable: Whether it may be edited; other objects that touch it count its mask either way.
    """

    image: Path
    mask: Mask
    class_name: str
    is_thing: bool = True
    is_crowd: bool = False
    licence: Licence | None = None
    editable: bool = True


class Licence(NamedTuple):
    """A photograph's licence; empty where the data set says nothing."""

    name: str = ""
    url: str = ""
    attribution: str = ""


class Label(NamedTuple):
    """One object with its mask not yet decoded."""

    class_name: str
    form: Any  # a COCO segmentation; an identifier in a panoptic image; a value of an index mask
    is_thing: bool = True
    is_crowd: bool = False
    editable: bool = True


@dataclass(frozen=True)
class Photo:
    """A photograph and its objects.

    Attributes:
        name: The file's path below the folder of photographs, with forward slashes.
        image: The file.
        labels: The objects.
        kind: How their masks are decoded.
        segments: The image that holds the masks; None for ``"coco"``.
        licence: The photograph's, or None.
        split_components: Whether each connected part of a class is one object.
        unlabelled: Values of an index mask that mean no object.
        size: Height and width in pixels in the annotations, or None.
    """

    name: str
    image: Path
    labels: tuple[Label, ...] = ()
    kind: Literal["coco", "panoptic", "index"] = "coco"
    segments: Path | None = None
    licence: Licence | None = None
    split_components: bool = False
    unlabelled: tuple[int, ...] = ()
    size: tuple[int, int] | None = None

    def instances(self, height: int, width: int) -> tuple[list[Instance], list[str]]:
        """Decode the masks.

        Args:
            height: Of the photograph, in pixels.
            width: Of the photograph, in pixels.

        Returns:
            The objects, and the problems of those that could not be decoded.

        Raises:
            InputError: The photograph has another size than its annotations, or the image that holds the masks is
                missing, damaged, or of another size.
        """
        if self.size not in (None, (height, width)):
            raise InputError(
                f"it is {width} x {height} pixels, but its annotations are for {self.size[1]} x {self.size[0]}"
            )
        ids = None if self.segments is None else _read_ids(self.segments, (height, width), self.kind)
        labels, problems = self.labels, list[str]()
        if self.kind == "index":  # the labels are all classes of the data set; most are not in the image
            present = set(np.unique(ids).tolist()) if ids is not None else set()
            labels = tuple(label for label in labels if label.form in present)
            nameless = present - {label.form for label in labels} - set(self.unlabelled)
            problems += (f"value {value} has no class name" for value in sorted(nameless))
        found: list[Instance] = []
        for label in labels:
            try:
                with reading("its mask cannot be read"):
                    drawn = ids is not None
                    mask = np.asarray(ids == label.form) if drawn else decode_segmentation(label.form, height, width)
            except InputError as error:
                problems.append(f"{label.class_name}: {error}")
                continue
            if not mask.any():
                problems.append(f"{label.class_name}: its mask is empty")
                continue
            found += (
                Instance(
                    self.image, part, label.class_name, label.is_thing, label.is_crowd, self.licence, label.editable
                )
                for part in (_components(mask) if self.split_components else [mask])
            )
        return found, problems


@dataclass(frozen=True)
class InstanceSet:
    """A data set.

    Attributes:
        photos: Sorted by name.
        class_names: Classes of editable objects, sorted.
        problems: Each problem in words, with the files or annotations that have it.
        description: Format and source, in words.
    """

    photos: tuple[Photo, ...]
    class_names: tuple[str, ...]
    problems: Mapping[str, list[str]] = field(default_factory=dict)
    description: str = ""


def _read_ids(path: Path, shape: tuple[int, int], kind: str) -> Any:
    """Read a mask image's class numbers or identifiers, (H, W)."""
    from PIL import Image

    if not path.is_file():
        raise InputError(f"its mask {path.name} is not there")
    with reading(f"its mask {path.name} is damaged"), Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB") if kind == "panoptic" else image)
    ids = colour_ids(pixels) if kind == "panoptic" else pixels
    if ids.ndim != 2:
        raise InputError(f"its mask {path.name} is a colour image, not one of class numbers")
    if ids.shape != shape:
        raise InputError(
            f"its mask {path.name} has {ids.shape[1]} x {ids.shape[0]} pixels, not {shape[1]} x {shape[0]}"
        )
    return ids


def _components(mask: Mask) -> list[Mask]:
    import cv2

    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [np.asarray(parts == i) for i in range(1, count)]
