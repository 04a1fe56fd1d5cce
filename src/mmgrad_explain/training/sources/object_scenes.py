"""Photographs with objects of other photographs pasted on them, and edits of these objects and of the photograph's own.

What lies behind a pasted object is known, so that it can be removed, moved or replaced without a trace; and objects of
one kind come at all sides and sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]

_MARGIN = 1  # pixels of an object's edge that are left behind when it is cut out
_HIDDEN = 0.4  # share of an object that another one may cover
_OUTSIDE = 0.25  # share of a pasted object that may lie beyond the photograph


@dataclass(frozen=True)
class Cutout:
    """An object cut out of a photograph.

    Attributes:
        label: Number of its label.
        pixels: ``(h, w, 3)``.
        alpha: Opacity, ``(h, w)`` float32 in [0, 1].
    """

    label: int
    pixels: _Pixels
    alpha: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Thing:
    """An object in a scene.

    Attributes:
        label: Number of its label.
        mask: Where it is seen, ``(S, S)``.
        cutout: What was pasted; None for an object of the photograph itself.
        place: Centre (row, column) and height of what was pasted, pixels.
    """

    label: int
    mask: _Mask
    cutout: Cutout | None = None
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """A photograph with objects.

    Attributes:
        ground: The photograph alone, ``(S, S, 3)``.
        ground_labels: Its label map, ``(S, S)``; bars are :data:`~mmgrad_explain.data.batches.batch.IGNORE`.
        own: Its own objects.
        pasted: The others, in the order in which they were pasted.
        view: The parts of the square that show the photograph, ``(S, S)``.
    """

    ground: _Pixels
    ground_labels: _Pixels
    own: tuple[Thing, ...]
    pasted: tuple[Thing, ...]
    view: _Mask

    def render(self) -> tuple[_Pixels, _Pixels, list[Thing]]:
        """Return the image, its label map, and the objects as far as they are seen."""
        image, labels = self.ground, self.ground_labels
        things = list(self.own)
        for thing in self.pasted:
            if thing.cutout is None:
                continue
            image, alpha = paste(image, thing.cutout, thing.place, self.view)
            solid = alpha > 0.5
            labels = np.where(solid, thing.label, labels).astype(np.uint8)
            things = [replace(other, mask=other.mask & ~solid) for other in things]
            things.append(replace(thing, mask=solid))
        return image, labels, things


def find_components(labels: _Pixels, chosen: _Mask, least: float) -> list[tuple[int, _Mask]]:
    """Find the connected parts of chosen labels that are not too small: label and mask of each.

    Args:
        labels: ``(H, W)``.
        chosen: Whether each label is wanted, ``(K,)`` bool.
        least: Smallest part, pixels.
    """
    import cv2

    counts = np.bincount(labels.reshape(-1), minlength=256)[: len(chosen)]
    found = []
    for label in np.flatnonzero((counts >= least) & chosen):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        found += [
            (int(label), parts == part) for part in range(1, count) if stats[part, cv2.CC_STAT_AREA] >= max(least, 4)
        ]
    return found


def cut_out(photo: _Pixels, mask: _Mask, label: int, *, largest: int = 320) -> Cutout:
    """Cut an object out of a photograph, with a soft edge."""
    import cv2

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    kernel = np.ones((2 * _MARGIN + 1,) * 2, np.uint8)
    closed = cv2.morphologyEx(mask[window].astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    solid = cv2.erode(closed, kernel, borderValue=0).astype(np.float32)
    alpha = cv2.GaussianBlur(solid, (3, 3), 0.8)
    pixels = photo[window]
    ratio = largest / max(alpha.shape)
    if ratio < 1:
        size = (max(4, round(alpha.shape[1] * ratio)), max(4, round(alpha.shape[0] * ratio)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return Cutout(label, np.ascontiguousarray(pixels), np.asarray(alpha, np.float32))


def mirrored(cutout: Cutout) -> Cutout:
    """Mirror a cut-out."""
    return Cutout(
        cutout.label, np.ascontiguousarray(cutout.pixels[:, ::-1]), np.ascontiguousarray(cutout.alpha[:, ::-1])
    )


def paste(
    image: _Pixels, cutout: Cutout, place: tuple[float, float, float], view: _Mask
) -> tuple[_Pixels, npt.NDArray[np.float32]]:
    """Paste a cut-out: the new image, and the opacity of what was pasted, ``(S, S)``.

    Args:
        image: ``(S, S, 3)``.
        cutout: What is pasted.
        place: Centre (row, column) and height, pixels.
        view: Where the image may be painted over, ``(S, S)``.
    """
    import cv2

    row, column, high = place
    ratio = high / cutout.alpha.shape[0]
    size = (max(3, round(cutout.alpha.shape[1] * ratio)), max(3, round(high)))
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    pixels, alpha = (
        cv2.resize(cutout.pixels, size, interpolation=how),
        cv2.resize(cutout.alpha, size, interpolation=how),
    )
    top, left = round(row - size[1] / 2), round(column - size[0] / 2)
    inside = (
        slice(max(top, 0), min(top + size[1], image.shape[0])),
        slice(max(left, 0), min(left + size[0], image.shape[1])),
    )
    cover = np.zeros(image.shape[:2], np.float32)
    result = image.copy()
    if inside[0].start < inside[0].stop and inside[1].start < inside[1].stop:
        part = (
            slice(inside[0].start - top, inside[0].stop - top),
            slice(inside[1].start - left, inside[1].stop - left),
        )
        cover[inside] = alpha[part] * view[inside]
        old = image[inside].astype(np.float32)
        result[inside] = old + cover[inside][..., None] * (pixels[part].astype(np.float32) - old) + np.float32(0.5)
    return result, cover


def draw_place(
    rng: np.random.Generator, cutout: Cutout, view: _Mask, areas: tuple[float, float]
) -> tuple[float, float, float]:
    """Draw where a cut-out is pasted, and how high: mostly inside the photograph.

    Args:
        rng: The source of chance.
        cutout: What is pasted.
        view: The part of the square that shows the photograph, ``(S, S)``.
        areas: Smallest and largest area, as a share of that part.
    """
    rows, columns = np.flatnonzero(view.any(1)), np.flatnonzero(view.any(0))
    low, high = areas
    area = low * (high / low) ** rng.random() * len(rows) * len(columns)
    height, width = cutout.alpha.shape
    ratio = float(np.sqrt(area / max(float((cutout.alpha > 0.5).sum()), 1.0)))
    ratio = min(ratio, 0.95 * len(rows) / height, 0.95 * len(columns) / width)
    height, width = height * ratio, width * ratio
    loose = (0.5 - _OUTSIDE) if rng.random() < 0.15 else 0.5
    row = rng.uniform(rows[0] + loose * height, rows[-1] + 1 - loose * height)
    column = rng.uniform(columns[0] + loose * width, columns[-1] + 1 - loose * width)
    return float(row), float(column), float(height)


def is_free(alpha: npt.NDArray[np.float32], things: Sequence[Thing]) -> bool:
    """Return whether pasting would leave enough of every object to be seen, and is seen itself."""
    solid = alpha > 0.5
    return bool(solid.any()) and all((thing.mask & solid).sum() <= _HIDDEN * thing.mask.sum() for thing in things)
