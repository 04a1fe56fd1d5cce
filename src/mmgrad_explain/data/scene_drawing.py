"""Drawing for generated scenes: shapes from a table of distances, backgrounds from a bank of noise.

Pictures are float32 sRGB, 0 to 255, height by width by channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmgrad_explain.data.scene_text import SceneObject, pick

Floats: TypeAlias = NDArray[np.floating[Any]]

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (218, 32, 36),
    "green": (38, 160, 58),
    "blue": (38, 72, 220),
    "yellow": (244, 216, 36),
    "purple": (128, 44, 176),
    "orange": (244, 130, 22),
    "pink": (250, 134, 192),
    "cyan": (36, 204, 220),
}
DIAMETERS = {"small": (0.12, 0.17), "large": (0.24, 0.34)}
"""Smallest and largest diameter of an object, as a share of the side."""

_GRID, _REACH = 256, 1.15  # resolution and half-width of the table of shapes


@dataclass(frozen=True)
class DrawnObject(SceneObject):
    """An object with all that is needed to draw it (pixels, radians, sRGB)."""

    x: float
    y: float
    radius: float
    angle: float
    rgb: tuple[float, float, float]
    outline: float  # 0 none, < 0 darker, > 0 lighter
    shade: tuple[float, float]
    highlight: float


# --------------------------------------------------------------------------------------------------------- shapes


def _polygon(points: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distance to a polygon, negative inside."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        ex, ey = bx - ax, by - ay
        t = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (x - ax - t * ex) ** 2 + (y - ay - t * ey) ** 2)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
    out: NDArray[np.float64] = np.where(inside, -1.0, 1.0) * np.sqrt(nearest)
    return out


@cache
def _distances() -> Floats:
    """Signed distance of every shape on a grid, in units of its circumscribed circle."""
    axis = ((np.arange(_GRID) + 0.5) / _GRID * 2 - 1) * _REACH
    x, y = np.meshgrid(axis, axis)
    r = np.hypot(x, y)
    turn = np.arange(10) * np.pi / 5
    spike = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    heart = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 2
    a, b = 0.94, 0.28
    arms = [(b, a), (b, b), (a, b), (a, -b), (b, -b), (b, -a), (-b, -a), (-b, -b), (-a, -b), (-a, b), (-b, b), (-b, a)]
    table = {
        "circle": r - 0.9,
        "square": _polygon(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.7, x, y),
        "triangle": _polygon(np.array([(0, -1), (math.sqrt(0.75), 0.5), (-math.sqrt(0.75), 0.5)]), x, y),
        "star": _polygon(np.stack([np.sin(turn) * spike, -np.cos(turn) * spike], 1), x, y),
        "heart": _polygon(np.stack([16 * np.sin(t) ** 3, heart], 1) / 17.5, x, y),
        "cross": _polygon(np.array(arms), x, y),
        "ring": np.abs(r - 0.73) - 0.2,
        "crescent": np.maximum(np.maximum(r - 0.95, 0.72 - np.hypot(x - 0.42, y)), x - 0.38),  # blunt tips
    }
    return np.stack([table[shape] for shape in SHAPES]).astype(np.float32)


def sprite(thing: DrawnObject, size: int) -> tuple[tuple[slice, slice], Floats, Floats]:
    """Draws one object: where it goes, its opacity ``(h, w, 1)`` and its colours ``(h, w, 3)``."""
    reach = thing.radius + 1.5
    x0, x1 = max(0, math.floor(thing.x - reach)), min(size, math.ceil(thing.x + reach))
    y0, y1 = max(0, math.floor(thing.y - reach)), min(size, math.ceil(thing.y + reach))
    dx = ((np.arange(x0, x1, dtype=np.float32) + (0.5 - thing.x)) / thing.radius)[None, :]
    dy = ((np.arange(y0, y1, dtype=np.float32) + (0.5 - thing.y)) / thing.radius)[:, None]
    c, s = math.cos(thing.angle), math.sin(thing.angle)
    scale = _GRID / 2 / _REACH
    column = np.clip((c * dx + s * dy) * scale + _GRID / 2, 0, _GRID - 1).astype(np.intp)
    row = np.clip((c * dy - s * dx) * scale + _GRID / 2, 0, _GRID - 1).astype(np.intp)
    distance = _distances()[SHAPES.index(thing.shape)][row, column] * np.float32(thing.radius)
    alpha = np.clip(0.5 - distance, 0, 1)
    light = (1 + thing.shade[0] * dx) + thing.shade[1] * dy
    if thing.outline < 0:
        light = light * (1 + thing.outline * np.clip(0.5 + 0.08 * thing.radius + distance, 0, 1))
    color = light[..., None] * np.array(thing.rgb, dtype=np.float32)
    if thing.highlight or thing.outline > 0:
        white = np.exp(-9 * ((dx + 0.3) ** 2 + (dy + 0.35) ** 2)) * thing.highlight
        if thing.outline > 0:
            white = np.maximum(white, thing.outline * np.clip(0.5 + 0.08 * thing.radius + distance, 0, 1))
        color += white[..., None] * (255 - color)
    return (slice(y0, y1), slice(x0, x1)), alpha[..., None].astype(np.float32), color.astype(np.float32)


def shown_color(rng: np.random.Generator, color: str) -> tuple[float, float, float]:
    """The colour as one object shows it."""
    light = 0.9 + 0.16 * rng.random()
    r, g, b = (min(max(light * c + 20 * (rng.random() - 0.5), 0.0), 255.0) for c in COLORS[color])
    return r, g, b


def random_radius(rng: np.random.Generator, size: str, side: int) -> float:
    """Draws half the diameter in pixels of an object of the named size."""
    low, high = DIAMETERS[size]
    return (low + rng.random() * (high - low)) * side / 2


def make_object(rng: np.random.Generator, shape: str, color: str, size: str, side: int) -> DrawnObject:
    """Draws the looks of an object; it has no place yet."""
    outline, shaded = rng.random(), 0.3 * (rng.random() < 0.5)
    return DrawnObject(
        shape=shape,
        color=color,
        size=size,
        u=0.5,
        v=0.5,
        x=0.0,
        y=0.0,
        radius=random_radius(rng, size, side),
        angle=rng.random() * 2 * math.pi if rng.random() < 0.4 else 0.8 * (rng.random() - 0.5),
        rgb=shown_color(rng, color),
        outline=-0.55 if outline < 0.2 else 0.7 if outline < 0.3 else 0.0,
        shade=(shaded * (rng.random() - 0.5), shaded * (rng.random() - 0.5)),
        highlight=0.3 + 0.4 * rng.random() if rng.random() < 0.2 else 0.0,
    )


# ---------------------------------------------------------------------------------------------------- backgrounds


def blur(pictures: Floats, weight: float) -> Floats:
    """Blurs a batch of pictures once by ``[w, 1 - 2w, w]`` along both axes; edges repeat."""
    for axis in (1, 2):
        first, last = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        out = pictures * np.float32(1 - 2 * weight)
        side = pictures * np.float32(weight)
        out[first] += side[last]
        out[last] += side[first]
        edge = [(slice(None),) * axis + (s,) for s in (slice(0, 1), slice(-1, None))]
        for part in edge:
            out[part] += side[part]
        pictures = out
    return pictures


@cache
def bank(size: int) -> dict[str, Floats]:
    """Noise, drawn once per picture size; scenes cut windows out of it."""
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


def window(rng: np.random.Generator, field: Floats, size: int) -> Floats:
    """Cuts a square window at a random place, randomly mirrored."""
    y, x = (int(rng.random() * (n - size + 1)) for n in field.shape[:2])
    out = field[y : y + size, x : x + size]
    flips = int(rng.random() * 4)
    return out[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


def smooth(rng: np.random.Generator, size: int) -> Floats:
    """One channel of smooth noise with unit deviation, ``(size, size, 1)``."""
    return window(rng, pick(rng, bank(size)["smooth"]), size)[..., None]  # type: ignore[arg-type]


def _tone(rng: np.random.Generator, low: float = 30, high: float = 225, chroma: float = 45) -> Floats:
    """A rather muted colour."""
    out: Floats = np.clip(low + rng.random() * (high - low) + chroma * (2 * rng.random(3) - 1), 8, 247)
    return out.astype(np.float32)


def ramp(size: int, angle: float) -> Floats:
    """A ramp from 0 to 1 along a direction, ``(size, size, 1)``."""
    t = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = t[None, :] * math.cos(angle) + t[:, None] * math.sin(angle)
    span = 1 / (abs(math.cos(angle)) + abs(math.sin(angle)))
    out: Floats = (across * span + 0.5)[..., None]
    return out


def _textured(rng: np.random.Generator, size: int, base: Floats, amount: float) -> Floats:
    return base + amount * smooth(rng, size) * (0.6 + 0.8 * rng.random(3, dtype=np.float32))


def _plain(rng: np.random.Generator, size: int) -> Floats:
    kind = rng.random()
    tone = _tone(rng) if kind < 0.5 else _tone(rng, 228, 247, 8) if kind < 0.8 else _tone(rng, 10, 30, 8)
    return tone + np.zeros((size, size, 3), dtype=np.float32)


def _gradient(rng: np.random.Generator, size: int) -> Floats:
    start, end = _tone(rng), _tone(rng)
    return start + ramp(size, rng.random() * 2 * math.pi) * (end - start)


def _grain(rng: np.random.Generator, size: int) -> Floats:
    return _tone(rng) + (6 + 16 * rng.random()) * window(rng, bank(size)["white"], size)


def _clouds(rng: np.random.Generator, size: int) -> Floats:
    common, own = 6 + 18 * rng.random(), 4 + 16 * rng.random()
    channels = np.concatenate([smooth(rng, size) for _ in range(3)], axis=2)
    return _tone(rng, 50, 205) + common * smooth(rng, size) + own * channels


def _clutter(rng: np.random.Generator, size: int) -> Floats:
    middle = _tone(rng, 60, 195, 30)
    palette = np.stack([middle + 38 * (2 * rng.random(3, dtype=np.float32) - 1) for _ in range(6)])
    labels = window(rng, pick(rng, bank(size)["labels"]), size)  # type: ignore[arg-type]
    out: Floats = palette[labels.astype(np.intp)]
    for _ in range(1 + int(rng.random() * 4)):
        out = blur(out[None], 0.3)[0]
    return out


def _pattern(rng: np.random.Generator, size: int) -> Floats:
    angle = rng.random() * math.pi
    count = (4 + 8 * rng.random()) * math.pi
    wave = np.sin(ramp(size, angle) * count)
    if rng.random() < 0.5:
        wave = wave * np.sin(ramp(size, angle + math.pi / 2) * count)
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
    sky = sky + np.maximum(smooth(rng, size), 0) * (25 * rng.random())
    soil = np.array(pick(rng, ((88, 118, 58), (120, 128, 74), (150, 132, 96), (196, 180, 140))), dtype=np.float32)
    ground = _textured(rng, size, soil + 24 * (rng.random(3, dtype=np.float32) - 0.5), 6 + 10 * rng.random())
    edge = np.clip((down - horizon) * size / 3 + 0.6 * smooth(rng, size), 0, 1)
    out: Floats = sky + edge * (ground - sky)
    return out


_BACKGROUNDS = (_plain, _plain, _gradient, _grain, _clouds, _clouds, _clutter, _clutter, _pattern, _landscape)


def background(rng: np.random.Generator, size: int) -> Floats:
    """Draws a background: plain, gradient, noise, clutter, pattern or landscape."""
    out: Floats = np.clip(pick(rng, _BACKGROUNDS)(rng, size), 4, 251).astype(np.float32)
    return out


def cut(rng: np.random.Generator, picture: NDArray[np.uint8], size: int) -> Floats:
    """Cuts a random square out of a picture, at least half as wide as the picture is, and scales it to ``size``."""
    from PIL import Image

    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * (0.5 + 0.5 * rng.random())))
    x, y = int(rng.random() * (width - side + 1)), int(rng.random() * (height - side + 1))
    part = Image.fromarray(np.ascontiguousarray(picture[y : y + side, x : x + side]))
    return np.asarray(
        part.resize((size, size), Image.Resampling.BOX if side > size else Image.Resampling.BILINEAR), dtype=np.float32
    )


def distinct(backdrop: Floats) -> tuple[str, ...]:
    """The colours that stand out from every part of the background; never fewer than five."""
    step = max(1, len(backdrop) // 6)
    parts = backdrop[step // 2 :: step, step // 2 :: step].reshape(-1, 1, 3)
    far = np.sqrt(((parts - np.array(list(COLORS.values()), dtype=np.float32)) ** 2).sum(2)).min(0)
    order = sorted(zip(far.tolist(), COLORS, strict=True), reverse=True)
    return tuple(color for rank, (distance, color) in enumerate(order) if rank < 5 or distance > 75)


# ----------------------------------------------------------------------------------------------------- photograph


def photograph(rng: np.random.Generator, pictures: Floats, *, noise: bool) -> NDArray[np.uint8]:
    """Blur, light, contrast and cast alike for all pictures, sensor noise for each of its own."""
    size = pictures.shape[1]
    for _ in range(int(rng.random() * 2.2) if size < 128 else int(rng.random() * 4)):
        pictures = blur(pictures, 0.08 + 0.17 * rng.random())
    if rng.random() < 0.6:
        contrast = 0.75 + 0.4 * rng.random()
        gain = (contrast * (1 + 0.12 * (rng.random(3) - 0.5))).astype(np.float32)
        pictures = (pictures - 127) * gain + np.float32(127 + 44 * (rng.random() - 0.5))
    if rng.random() < 0.4:
        light = ramp(size, rng.random() * 2 * math.pi) - 0.5
        if rng.random() < 0.5:
            light = np.clip(smooth(rng, size), -2, 2) / 4
        pictures = pictures * (1 + light * np.float32(0.4 * rng.random()))
    strength = 9 * rng.random() ** 2
    if noise and strength > 0.5:
        field = bank(size)["white"]
        for index in range(len(pictures)):
            pictures[index] += window(rng, field, size) * np.float32(strength)
    out: NDArray[np.uint8] = np.clip(pictures + np.float32(0.5), 0, 255).astype(np.uint8)
    return out
