"""Views of photographs: crops that may reach beyond them, letterboxing, two side by side, changes of the light."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.images.placement import fit

if TYPE_CHECKING:
    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]
    _Mask = npt.NDArray[np.bool_]

_FILL = 127  # grey of the letterbox bars


def crop(
    photo: _Pixels, labels: _Pixels, box: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[_Pixels, _Pixels]:
    """Cut a window out of a photograph; beyond its edge the window has one colour of the photograph's border."""
    left, top, width, height = box
    rows, columns = labels.shape
    inside = (slice(max(top, 0), min(top + height, rows)), slice(max(left, 0), min(left + width, columns)))
    if (height, width) == (inside[0].stop - inside[0].start, inside[1].stop - inside[1].start):
        return photo[inside], labels[inside]
    border = np.concatenate([photo[[0, -1]].reshape(-1, 3), photo[:, [0, -1]].reshape(-1, 3)])
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = border[int(rng.integers(len(border)))]
    ground = np.zeros((height, width), np.uint8)
    place = (slice(max(-top, 0), max(-top, 0) + inside[0].stop - inside[0].start),
             slice(max(-left, 0), max(-left, 0) + inside[1].stop - inside[1].start))  # fmt: skip
    canvas[place], ground[place] = photo[inside], labels[inside]
    return canvas, ground


def letterbox(photo: _Pixels, labels: _Pixels, size: int) -> tuple[_Pixels, _Pixels]:
    """Fit a photograph and its labels into a square, like the model's input; labels take the nearest pixel.

    The bars have the label :data:`~mmgrad_explain.data.batches.batch.IGNORE`.
    """
    fitted, placement = fit(Image.fromarray(photo), size, fill=(_FILL,) * 3)
    height, width = (min(size, max(1, round(n * s))) for n, s in zip(labels.shape, placement.scale, strict=True))
    top, left = (max(0, round(o)) for o in placement.offset)
    square = np.full((size, size), IGNORE, np.uint8)
    square[top : top + height, left : left + width] = np.asarray(
        Image.fromarray(labels).resize((width, height), Resampling.NEAREST)
    )
    return np.asarray(fitted), square


def set_beside(left: tuple[_Pixels, _Pixels], right: tuple[_Pixels, _Pixels], offset: int) -> tuple[_Pixels, _Pixels]:
    """Set two photographs side by side, the second one as high as the first; its labels are raised by ``offset``.

    Background stays 0.
    """
    photo, labels = right
    width = max(1, round(photo.shape[1] * left[0].shape[0] / photo.shape[0]))
    size = (width, left[0].shape[0])
    scaled = np.asarray(Image.fromarray(photo).resize(size, Resampling.BICUBIC))
    marked = np.asarray(Image.fromarray(labels).resize(size, Resampling.NEAREST))
    marked = np.where(marked > 0, marked + offset, 0).astype(np.uint8)
    return np.concatenate([left[0], scaled], 1), np.concatenate([left[1], marked], 1)


def draw_box(
    labels: _Pixels, chosen: _Mask, zoom: tuple[float, float], focus: float, portrait: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop: left, top, width, height in pixels; it may reach beyond the photograph.

    Args:
        labels: ``(H, W)``.
        chosen: The labels that a crop may be placed around, by their number.
        zoom: Smallest and largest height, as a share of the photograph's.
        focus: How often it is placed around one object.
        portrait: How often it begins at the top of what is labelled.
        rng: The source of chance.
    """
    low, high = zoom
    rows, columns = labels.shape
    half = portrait > 0 and rng.random() < portrait
    share = low * ((min(high, max(low, 0.6)) if half else high) / low) ** rng.random()
    height = max(8, round(share * rows))
    width = max(8, round(height * min(1.0, columns / rows) * 2 ** rng.uniform(-0.5, 0.9)))
    things = np.flatnonzero((np.bincount(labels.reshape(-1), minlength=len(chosen)) > 0)[: len(chosen)])
    things = things[chosen[things]]
    if len(things) and rng.random() < focus:
        places = np.flatnonzero(labels == int(rng.choice(things)))
        row, column = divmod(int(rng.choice(places)), columns)
    else:
        row, column = int(rng.integers(rows)), int(rng.integers(columns))
    top = row - round(height * rng.uniform(0.25, 0.75))
    left = column - round(width * rng.uniform(0.25, 0.75))
    shown = np.flatnonzero((labels > 0) & (labels != IGNORE))
    if half and len(shown):
        top = int(shown[0]) // columns - round(height * rng.uniform(0.02, 0.2))
        left = round(float(np.median(shown[: len(shown) // 8 + 1] % columns))) - round(width * rng.uniform(0.35, 0.65))
    top = min(max(top, 0), rows - height) if height <= rows else -int(rng.integers(height - rows + 1))
    left = min(max(left, 0), columns - width) if width <= columns else -int(rng.integers(width - columns + 1))
    return left, top, width, height


def relight(images: list[_Pixels], bars: _Mask, strength: float, rng: np.random.Generator) -> list[_Pixels]:
    """Change the light of all images of one photograph alike, and add sensor noise to each; bars are unchanged."""
    if strength == 0:
        return images
    gain = 2 ** (strength * rng.uniform(-0.5, 0.4)) * (1 + strength * rng.uniform(-0.08, 0.08, 3))
    gamma = 2 ** (strength * rng.uniform(-0.3, 0.3))
    table = np.clip(255 * ((np.arange(256) / 255)[:, None] ** gamma) * gain, 0, 255).astype(np.float32)
    sigma = np.float32(strength * rng.uniform(0, 2.5))
    noise = _cached_noise()
    relit = []
    for image in images:
        shown = np.stack([table[image[..., channel], channel] for channel in range(3)], -1)
        start = int(rng.integers(len(noise)))
        grain = np.take(noise, np.arange(start, start + image.size), mode="wrap").reshape(image.shape)
        shown = np.clip(shown + sigma * grain + 0.5, 0, 255).astype(np.uint8)
        shown[bars] = _FILL
        relit.append(shown)
    return relit


@functools.cache
def _cached_noise() -> npt.NDArray[np.float32]:
    """Return sensor noise to cut pieces from; drawing new noise would take longer than everything else."""
    return np.random.default_rng(0).standard_normal(1 << 18, np.float32)
