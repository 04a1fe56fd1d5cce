"""Backgrounds of generated scenes: drawn from a bank of noise, or cut out of images.

Images are float32 sRGB, 0 to 255, height by width by channel.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scenes.drawing import COLORS
from mmgrad_explain.data.scenes.text import pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmgrad_explain.data.scenes.drawing import Floats


def blur(images: Floats, weight: float) -> Floats:
    """Blur a batch of images once by ``[w, 1 - 2w, w]`` along both axes; edges repeat."""
    for axis in (1, 2):
        first, last = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        out = images * np.float32(1 - 2 * weight)
        side = images * np.float32(weight)
        out[first] += side[last]
        out[last] += side[first]
        edge = [(slice(None),) * axis + (s,) for s in (slice(0, 1), slice(-1, None))]
        for part in edge:
            out[part] += side[part]
        images = out
    return images


@cache
def make_noise_bank(size: int) -> dict[str, Floats]:
    """Make the noise that scenes cut windows out of, once for each image size."""
    rng = np.random.default_rng(20240229)
    side = min(2 * size, size + 128)
    fields = []
    for index in range(30):
        total = np.zeros((side, side))
        decay = (0.35, 0.55, 0.8)[index % 3]
        cells, weight = 3, 1.0
        while cells < side // 2:
            at = np.linspace(0, cells - 1.001, side)
            low = at.astype(int)
            t = at - low
            t = t * t * (3 - 2 * t)
            mix = np.zeros((side, cells))
            mix[np.arange(side), low] = 1 - t
            mix[np.arange(side), low + 1] = t
            total += weight * (mix @ rng.standard_normal((cells, cells)) @ mix.T)
            cells, weight = cells * 2, weight * decay
        fields.append((total - total.mean()) / total.std())
    smooth = np.stack(fields).astype(np.float32)
    labels = np.stack([np.argmax(smooth[i : i + 18 : 3], axis=0) for i in range(12)]).astype(np.float32)
    grain = min(2 * side, side + 192)
    white = rng.standard_normal((grain, grain, 3)).astype(np.float32)
    return {"smooth": smooth, "labels": labels, "white": white}


def cut_window(rng: np.random.Generator, field: Floats, size: int) -> Floats:
    """Cut a square window at a random place, randomly mirrored."""
    y, x = (int(rng.random() * (n - size + 1)) for n in field.shape[:2])
    out = field[y : y + size, x : x + size]
    flips = int(rng.random() * 4)
    return out[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


def cut_smooth_noise(rng: np.random.Generator, size: int) -> Floats:
    """Cut one channel of smooth noise with standard deviation 1, ``(size, size, 1)``."""
    return cut_window(rng, pick(rng, make_noise_bank(size)["smooth"]), size)[..., None]  # type: ignore[arg-type]


def _tone(rng: np.random.Generator, low: float = 30, high: float = 225, chroma: float = 45) -> Floats:
    """Draw a muted colour."""
    out: Floats = np.clip(low + rng.random() * (high - low) + chroma * (2 * rng.random(3) - 1), 8, 247)
    return out.astype(np.float32)


def make_ramp(size: int, angle: float) -> Floats:
    """Make a ramp from 0 to 1 along a direction, ``(size, size, 1)``."""
    t = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = t[None, :] * math.cos(angle) + t[:, None] * math.sin(angle)
    span = 1 / (abs(math.cos(angle)) + abs(math.sin(angle)))
    out: Floats = (across * span + 0.5)[..., None]
    return out


def _textured(rng: np.random.Generator, size: int, base: Floats, amount: float) -> Floats:
    return base + amount * cut_smooth_noise(rng, size) * (0.6 + 0.8 * rng.random(3, dtype=np.float32))


def _plain(rng: np.random.Generator, size: int) -> Floats:
    kind = rng.random()
    tone = _tone(rng) if kind < 0.5 else _tone(rng, 228, 247, 8) if kind < 0.8 else _tone(rng, 10, 30, 8)
    return tone + np.zeros((size, size, 3), dtype=np.float32)


def _gradient(rng: np.random.Generator, size: int) -> Floats:
    start, end = _tone(rng), _tone(rng)
    return start + make_ramp(size, rng.random() * 2 * math.pi) * (end - start)


def _grain(rng: np.random.Generator, size: int) -> Floats:
    return _tone(rng) + (6 + 16 * rng.random()) * cut_window(rng, make_noise_bank(size)["white"], size)


def _clouds(rng: np.random.Generator, size: int) -> Floats:
    common, own = 6 + 18 * rng.random(), 4 + 16 * rng.random()
    channels = np.concatenate([cut_smooth_noise(rng, size) for _ in range(3)], axis=2)
    return _tone(rng, 50, 205) + common * cut_smooth_noise(rng, size) + own * channels


def _clutter(rng: np.random.Generator, size: int) -> Floats:
    middle = _tone(rng, 60, 195, 30)
    palette = np.stack([middle + 38 * (2 * rng.random(3, dtype=np.float32) - 1) for _ in range(6)])
    labels = cut_window(rng, pick(rng, make_noise_bank(size)["labels"]), size)  # type: ignore[arg-type]
    out: Floats = palette[labels.astype(np.intp)]
    for _ in range(1 + int(rng.random() * 4)):
        out = blur(out[None], 0.3)[0]
    return out


def _pattern(rng: np.random.Generator, size: int) -> Floats:
    angle = rng.random() * math.pi
    count = (4 + 8 * rng.random()) * math.pi
    wave = np.sin(make_ramp(size, angle) * count)
    if rng.random() < 0.5:
        wave = wave * np.sin(make_ramp(size, angle + math.pi / 2) * count)
    if rng.random() < 0.5:
        wave = np.clip(4 * wave, -1, 1)
    out: Floats = _tone(rng, 45, 210) + wave * (6 + 10 * rng.random(3, dtype=np.float32))
    return out


def _landscape(rng: np.random.Generator, size: int) -> Floats:
    down = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    zenith = np.array([95, 145, 205], dtype=np.float32) + 30 * (rng.random(3, dtype=np.float32) - 0.5)
    haze = np.array([205, 215, 225], dtype=np.float32) + 30 * (rng.random(3, dtype=np.float32) - 0.5)
    horizon = 0.25 + 1.1 * rng.random()
    sky = zenith + np.minimum(down / horizon, 1) * (haze - zenith)
    sky = sky + np.maximum(cut_smooth_noise(rng, size), 0) * (25 * rng.random())
    soil = np.array(pick(rng, ((88, 118, 58), (120, 128, 74), (150, 132, 96), (196, 180, 140))), dtype=np.float32)
    ground = _textured(rng, size, soil + 24 * (rng.random(3, dtype=np.float32) - 0.5), 6 + 10 * rng.random())
    edge = np.clip((down - horizon) * size / 3 + 0.6 * cut_smooth_noise(rng, size), 0, 1)
    out: Floats = sky + edge * (ground - sky)
    return out


_BACKGROUNDS = (_plain, _plain, _gradient, _grain, _clouds, _clouds, _clutter, _clutter, _pattern, _landscape)


def draw_background(rng: np.random.Generator, size: int) -> Floats:
    """Draw a background: plain, gradient, noise, clutter, pattern or landscape."""
    out: Floats = np.clip(pick(rng, _BACKGROUNDS)(rng, size), 4, 251).astype(np.float32)
    return out


def cut_backdrop(rng: np.random.Generator, image: NDArray[np.uint8], size: int) -> Floats:
    """Cut a random square out of an image, at least half as wide as it, and scale the square to ``size``."""
    from PIL import Image

    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * (0.5 + 0.5 * rng.random())))
    x, y = int(rng.random() * (width - side + 1)), int(rng.random() * (height - side + 1))
    part = Image.fromarray(np.ascontiguousarray(image[y : y + side, x : x + side]))
    return np.asarray(
        part.resize((size, size), Image.Resampling.BOX if side > size else Image.Resampling.BILINEAR), dtype=np.float32
    )


def find_distinct_colors(backdrop: Floats) -> tuple[str, ...]:
    """Find the colours that stand out from every part of the background; never fewer than five."""
    step = max(1, len(backdrop) // 6)
    parts = backdrop[step // 2 :: step, step // 2 :: step].reshape(-1, 1, 3)
    far = np.sqrt(((parts - np.array(list(COLORS.values()), dtype=np.float32)) ** 2).sum(2)).min(0)
    order = sorted(zip(far.tolist(), COLORS, strict=True), reverse=True)
    return tuple(color for rank, (distance, color) in enumerate(order) if rank < 5 or distance > 75)
