"""Draws the objects of generated scenes, from a table of signed distances.

Images are float32 sRGB, 0 to 255, height by width by channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmgrad_explain.data.scenes.text import SceneObject

Floats: TypeAlias = NDArray[np.floating[Any]]
Box: TypeAlias = tuple[slice, slice]
"""Rows and columns."""
Sprite: TypeAlias = tuple[Box, Floats, Floats]
"""The place of something, its opacity ``(h, w, 1)`` and its colours ``(h, w, 3)``."""

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent")
"""The shapes of objects, by name."""
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
"""The colours of objects: red, green and blue from 0 to 255, by name."""
DIAMETERS = {"small": (0.12, 0.17), "large": (0.24, 0.34)}
"""Smallest and largest diameter of an object, as shares of the image's side."""

_GRID, _REACH = 256, 1.15  # resolution and half-width of the table of shapes


@dataclass(frozen=True)
class DrawnObject(SceneObject):
    """An object with everything that is needed to draw it (pixels, radians, sRGB)."""

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
    """Measure the signed distance to a polygon, negative inside."""
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
    """Measure the signed distance to each shape on a grid, in radii of its circumscribed circle."""
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


def draw_sprite(thing: DrawnObject, size: int) -> Sprite:
    """Draw one object without a background, in an image of ``size`` by ``size`` pixels."""
    reach = thing.radius + 1.5
    x0, x1 = max(0, math.floor(thing.x - reach)), min(size, math.ceil(thing.x + reach))
    y0, y1 = max(0, math.floor(thing.y - reach)), min(size, math.ceil(thing.y + reach))
    dx = ((np.arange(x0, x1, dtype=np.float32) + (0.5 - thing.x)) / thing.radius)[None, :]
    dy = ((np.arange(y0, y1, dtype=np.float32) + (0.5 - thing.y)) / thing.radius)[:, None]
    scale = _GRID / 2 / _REACH
    c, s = math.cos(thing.angle) * scale, math.sin(thing.angle) * scale
    column, row = c * dx + (s * dy + _GRID / 2), c * dy - (s * dx - _GRID / 2)
    for index in (column, row):
        np.minimum(np.maximum(index, 0, out=index), _GRID - 1, out=index)
    table = _distances()[SHAPES.index(thing.shape)]
    distance = table[row.astype(np.intp), column.astype(np.intp)] * thing.radius
    alpha = np.minimum(np.maximum(0.5 - distance, 0), 1)
    light = (1 + thing.shade[0] * dx) + thing.shade[1] * dy
    rim = np.minimum(np.maximum(0.5 + 0.08 * thing.radius + distance, 0), 1) if thing.outline else distance
    if thing.outline < 0:
        light = light * (1 + thing.outline * rim)
    color = light[..., None] * np.array(thing.rgb, dtype=np.float32)
    if thing.highlight or thing.outline > 0:
        white = np.exp(-9 * ((dx + 0.3) ** 2 + (dy + 0.35) ** 2)) * thing.highlight
        if thing.outline > 0:
            white = np.maximum(white, thing.outline * rim)
        color += white[..., None] * (255 - color)
    return (slice(y0, y1), slice(x0, x1)), alpha[..., None], color


def vary_color(rng: np.random.Generator, color: str) -> tuple[float, float, float]:
    """Draw a shade of a colour, sRGB."""
    light = 0.9 + 0.16 * rng.random()
    r, g, b = (min(max(light * c + 20 * (rng.random() - 0.5), 0.0), 255.0) for c in COLORS[color])
    return r, g, b


def draw_radius(rng: np.random.Generator, size: str, side: int) -> float:
    """Draw the radius, in pixels, of an object of the named size."""
    low, high = DIAMETERS[size]
    return (low + rng.random() * (high - low)) * side / 2


def make_object(rng: np.random.Generator, shape: str, color: str, size: str, side: int) -> DrawnObject:
    """Draw the appearance of an object; the caller sets its place."""
    outline, shaded = rng.random(), 0.3 * (rng.random() < 0.5)
    return DrawnObject(
        shape=shape,
        color=color,
        size=size,
        u=0.5,
        v=0.5,
        x=0.0,
        y=0.0,
        radius=draw_radius(rng, size, side),
        angle=rng.random() * 2 * math.pi if rng.random() < 0.4 else 0.8 * (rng.random() - 0.5),
        rgb=vary_color(rng, color),
        outline=-0.55 if outline < 0.2 else 0.7 if outline < 0.3 else 0.0,
        shade=(shaded * (rng.random() - 0.5), shaded * (rng.random() - 0.5)),
        highlight=0.3 + 0.4 * rng.random() if rng.random() < 0.2 else 0.0,
    )
