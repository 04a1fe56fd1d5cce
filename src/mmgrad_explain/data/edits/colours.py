"""Colour words as ranges of CIE Lab (D65), and objects repainted to match them.

Lightness is 0 to 100. A colour word has a range of lightness. A repainted object is shifted into that range by the
smallest step and keeps its shading: a black coat becomes light when it is painted white, and its folds stay visible.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from mmgrad_explain.data.edits.masks import make_opacity, sample_inside

if TYPE_CHECKING:
    import numpy.typing as npt

    _Mask: TypeAlias = npt.NDArray[np.bool_] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
    _Floats: TypeAlias = npt.NDArray[np.float32]
    _Pixels: TypeAlias = npt.NDArray[np.uint8]


class Colour(NamedTuple):
    """The colours that a word means.

    Attributes:
        light: Range of CIE lightness.
        a: Green (negative) to red, at the middle of the range.
        b: Blue (negative) to yellow.
    """

    light: tuple[float, float]
    a: float
    b: float


COLOURS: dict[str, Colour] = {
    "red": Colour((36, 50), 62, 42),
    "orange": Colour((60, 70), 40, 66),
    "yellow": Colour((76, 88), 2, 76),
    "green": Colour((36, 62), -48, 38),
    "blue": Colour((30, 50), 18, -58),
    "purple": Colour((28, 46), 46, -46),
    "pink": Colour((66, 80), 42, -4),
    "brown": Colour((24, 38), 17, 27),
    "black": Colour((10, 16), 0, -1),
    "gray": Colour((44, 62), 0, 0),
    "white": Colour((86, 93), 0, 1),
}
"""The colours that an object can be painted, by name.

:meta hide-value:
"""


def measure_mean_lab(image: _Pixels, mask: _Mask) -> _Floats:
    """Measure an object's typical colour: the median of lightness (0 to 100), a and b over the mask, (3,) float32."""
    import cv2

    pixels = sample_inside(image, make_opacity(mask, image.shape[:2], "mask") >= 0.5)
    return np.asarray(np.median(_units(cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB))[0], 0), np.float32)


def measure_lab_distances(image: _Pixels, mask: _Mask) -> dict[str, float]:
    """Measure an object's distance to each colour word, CIE76; lightness within the word's range counts as 0."""
    light, a, b = (float(v) for v in measure_mean_lab(image, mask))
    return {
        word: math.hypot(light - min(max(light, colour.light[0]), colour.light[1]), a - colour.a, b - colour.b)
        for word, colour in COLOURS.items()
    }


def _units(lab: _Pixels) -> _Floats:
    """Convert OpenCV's 8-bit Lab to CIE units."""
    return np.asarray(lab * np.array([100 / 255, 1, 1], np.float32) - np.array([0, 128, 128], np.float32), np.float32)


def lab_to_rgb(lab: _Floats) -> _Pixels:
    """Convert CIE values to an RGB image; values outside of the gamut are clipped."""
    import cv2

    levels = lab * np.array([2.55, 1, 1], np.float32) + np.array([0.5, 128.5, 128.5], np.float32)
    return np.asarray(cv2.cvtColor(np.clip(levels, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB))


def rgb_to_lab(image: _Pixels) -> _Floats:
    """Convert an RGB image (H, W, 3) to CIE units."""
    import cv2

    return _units(np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)))


def repaint(lab: _Floats, alpha: _Floats, colour: Colour, rng: np.random.Generator) -> _Floats:
    """Repaint an object: shift its lightness into the colour's range, and keep its shading.

    Args:
        lab: (H, W, 3), the window around the object, in CIE units.
        alpha: (H, W), its opacities.
        colour: The new colour.
        rng: Draws the shade.

    Returns:
        (H, W, 3), in CIE units; values outside the object are undefined.
    """
    light = lab[..., 0]
    low, middle, high = (float(v) for v in np.percentile(sample_inside(light, alpha >= 0.5), (10, 50, 90)))
    base = min(max(middle, colour.light[0]), colour.light[1])
    contrast = max(high - low, 1.0)
    # Weak shading, as on black cloth, is raised; strong contrasts, as on prints, are lowered.
    gain = np.float32(min(16 / contrast, 1.8) if contrast < 16 else min(max(36 / contrast, 0.6), 1.0))
    pale = math.hypot(colour.a, colour.b) < 20  # a pale colour may be lifted farther and keep its name
    up, down = np.float32(min(98.0 - base, 22.0 if pale else 15.0)), np.float32(min(base - 3.0, 36.0))
    away = gain * (light - np.float32(middle))
    room = np.where(away > 0, up, down)
    shade = np.float32(base) + room * np.tanh(away / room)
    # Less colour where light is lost, and towards white in highlights.
    strength = np.where(shade < base, shade / base, 1 - 0.6 * (shade - base) / (100 - base))
    turn, vivid = (rng.random() - 0.5) * 0.16, 0.88 + 0.2 * rng.random()  # a hue has about nine degrees of play
    cos, sin = vivid * math.cos(turn), vivid * math.sin(turn)
    a, b = np.float32(colour.a * cos - colour.b * sin), np.float32(colour.a * sin + colour.b * cos)
    return np.stack([shade, strength * a, strength * b], -1)
