"""Regions of images as data sets have them: boxes, segmentations, files of masks; decoded when they are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.data.instances.masks import decode_segmentation
from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mmgrad_explain.data.instances.masks import Mask


@dataclass(frozen=True)
class Box:
    """A box; pixel ``i`` covers ``[i, i + 1)``.

    Attributes:
        left: Left edge, in pixels, or as a share of the width.
        top: Upper edge, in pixels, or as a share of the height.
        right: Right edge, likewise.
        bottom: Lower edge, likewise.
        shares: Whether the edges are shares of the image's sides.
    """

    left: float
    top: float
    right: float
    bottom: float
    shares: bool = False

    @classmethod
    def from_values(cls, values: Sequence[Any], *, size: bool = False, shares: bool = False) -> Box:
        """Make a box of four values of a file.

        Args:
            values: Left, top, right, bottom; or left, top, width, height.
            size: Whether the last two are width and height.
            shares: Whether they are shares of the image's sides.

        Raises:
            InputError: They are not four finite numbers, or the box has no area.
        """
        try:
            left, top, right, bottom = (float(value) for value in values)
        except (TypeError, ValueError) as error:
            raise InputError("its box is not four numbers") from error
        if size:
            right, bottom = left + right, top + bottom
        if not all(map(math.isfinite, (left, top, right, bottom))) or right <= left or bottom <= top:
            raise InputError("its box has no area")
        return cls(left, top, right, bottom, shares)

    def draw(self, height: int, width: int) -> Mask:
        """Draw the box as a mask (height, width): the pixels with centres inside, at least the one in its middle."""
        scale = (width, height) if self.shares else (1, 1)
        columns = _cells(self.left * scale[0], self.right * scale[0], width)
        rows = _cells(self.top * scale[1], self.bottom * scale[1], height)
        mask = np.zeros((height, width), bool)
        mask[rows, columns] = True
        return mask


@dataclass(frozen=True)
class Segmentation:
    """A COCO segmentation: polygons or run lengths.

    Attributes:
        form: As :func:`~mmgrad_explain.data.instances.masks.decode_segmentation` takes it.
    """

    form: Any

    def draw(self, height: int, width: int) -> Mask:
        """Decode the mask (height, width)."""
        return decode_segmentation(self.form, height, width)


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file.

    Attributes:
        path: As :func:`~mmgrad_explain.data.triplets.read_pixels` takes it.
    """

    path: Path

    def draw(self, height: int, width: int) -> Mask:
        """Read the mask (height, width)."""
        mask = np.asarray(read_pixels(self.path, mask=True), bool)
        if mask.shape != (height, width):
            raise InputError(f"its mask is {mask.shape[1]} x {mask.shape[0]} pixels, its image {width} x {height}")
        return mask


Shape: TypeAlias = Box | Segmentation | MaskFile


@dataclass(frozen=True)
class Region:
    """Where a phrase is right: the union of its shapes.

    Attributes:
        shapes: At least one.
        size: Height and width of the image in the annotations, in pixels, where they say it.
    """

    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None

    def draw(self, height: int, width: int) -> Mask:
        """Draw the region.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Returns:
            (height, width) bool, true inside.

        Raises:
            InputError: The image has another size than the annotations, or a shape is damaged or empty.
        """
        if self.size not in (None, (height, width)):
            raise InputError(
                f"its image is {width} x {height} pixels, its annotations are for {self.size[1]} x {self.size[0]}"
            )
        mask = np.zeros((height, width), bool)
        for shape in self.shapes:
            with reading("its region cannot be read"):
                mask |= shape.draw(height, width)
        if not mask.any():
            raise InputError("its region is empty")
        return mask


def _cells(start: float, end: float, count: int) -> slice:
    """Find the cells whose centres lie between two edges; the one in the middle where there are none."""
    first, last = max(math.ceil(start - 0.5), 0), min(math.ceil(end - 0.5), count)
    if last > first:
        return slice(first, last)
    middle = math.floor((start + end) / 2)
    return slice(middle, middle + 1) if 0 <= middle < count else slice(0, 0)
