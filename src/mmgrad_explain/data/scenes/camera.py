"""Photographs generated scenes: blur, light, contrast, colour cast and sensor noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scenes.backgrounds import blur, cut_smooth_noise, cut_window, make_noise_bank, make_ramp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mmgrad_explain.data.scenes.drawing import Box, Floats


def photograph(
    rng: np.random.Generator, plain: Floats, changed: Sequence[tuple[Floats, Box]], *, noise: bool
) -> NDArray[np.uint8]:
    """Photograph an image and its changed versions with the same blur, light, contrast and cast, but different noise.

    Args:
        rng: The source of variety.
        plain: The image, ``(S, S, 3)``.
        changed: Versions of it, each with the box that contains all changes; only the box is computed again.
        noise: Whether to add sensor noise.

    Returns:
        The image and its versions, ``(1 + len(changed), S, S, 3)``.
    """
    size = len(plain)
    count = int(rng.random() * 2.2) if size < 128 else int(rng.random() * 4)
    weights = [0.08 + 0.17 * rng.random() for _ in range(count)]
    gain, shift = np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32)
    light: Floats | None = None
    if rng.random() < 0.6:
        contrast = 0.75 + 0.4 * rng.random()
        gain = (contrast * (1 + 0.12 * (rng.random(3) - 0.5))).astype(np.float32)
        shift = np.float32(127 + 44 * (rng.random() - 0.5)) - 127 * gain
    if rng.random() < 0.4:
        light = make_ramp(size, rng.random() * 2 * math.pi) - 0.5
        if rng.random() < 0.5:
            light = np.clip(cut_smooth_noise(rng, size), -2, 2) / 4
        light = 1 + light * np.float32(0.4 * rng.random())

    def develop(image: Floats, box: Box) -> Floats:
        outer = grow_box(box, count, size)  # blur carries nothing from farther away into the box
        part = image[outer][None]
        for weight in weights:
            part = blur(part, weight)
        top, left = (inner.start - around.start for inner, around in zip(box, outer, strict=True))
        part = part[0, top : top + box[0].stop - box[0].start, left : left + box[1].stop - box[1].start]
        part = part * gain + shift
        return part if light is None else part * light[box]

    strength = np.float32(9 * rng.random() ** 2 if noise else 0)
    out = np.empty((1 + len(changed), *plain.shape), dtype=np.uint8)
    base = develop(plain, (slice(0, size), slice(0, size))) + np.float32(0.5)
    for index, (image, box) in enumerate([(plain, None), *changed]):
        version = base.copy()
        if box is not None:
            touched = grow_box(box, count, size)
            version[touched] = develop(image, touched) + np.float32(0.5)
        if strength > 0.5:
            version += cut_window(rng, make_noise_bank(size)["white"], size) * strength
        np.maximum(version, 0, out=version)
        out[index] = np.minimum(version, 255, out=version)
    return out


def grow_box(box: Box, pixels: int, size: int) -> Box:
    """Grow a box by some pixels on each side, within the image."""
    rows, columns = (slice(max(0, part.start - pixels), min(size, part.stop + pixels)) for part in box)
    return rows, columns
