"""Outlines of where heat exceeds some levels."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.heat import as_heat
from mmgrad_explain.images.reading import open_pixels


def contour(
    image: object,
    heat: object,
    levels: Sequence[float] = (0.5,),
    color: tuple[int, int, int] = (255, 255, 255),
    width: float | None = None,
) -> npt.NDArray[np.uint8]:
    """Outline the regions where heat exceeds some levels; a dark rim keeps the lines visible on any image.

    Args:
        image: An image of (H, W) pixels.
        heat: (h, w) in [0, 1] on any grid that evenly covers the image; it is resized bilinearly.
        levels: Levels of heat to outline, each in (0, 1).
        color: Colour of the lines, RGB in [0, 255].
        width: Width of the lines in pixels; by the size of the image when None.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: ``levels`` is empty, a level or ``width`` is out of range, or ``heat`` is not in [0, 1].
    """
    levels = [float(level) for level in levels]
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"levels must be in (0, 1), not {levels}")
    pixels = open_pixels(image)
    values = as_heat(heat, pixels.shape[:2])
    width = max(1.0, math.sqrt(min(values.shape)) / 9) if width is None else width
    if not 0 < width <= 100:
        raise InputError(f"width must be in (0, 100] pixels, not {width}")
    distance = _distance(values, levels, math.ceil(width + 1))
    near = np.isfinite(distance)
    distance = distance[near][:, None]
    rim, line = (np.clip(radius + 0.5 - distance, 0, 1) for radius in (width, width / 2))
    drawn = pixels[near] * (1 - 0.6 * rim)
    drawn += line * (np.asarray(color, np.float32) - drawn)
    result = pixels.copy()
    result[near] = np.rint(drawn)
    return result


def _distance(values: npt.NDArray[np.float32], levels: Sequence[float], reach: int) -> npt.NDArray[np.float64]:
    """Return each pixel's distance to the nearest outline, in pixels; infinite beyond about ``reach``."""
    points = []  # (y, x), between two neighbours of which one is above a level and one below
    for level in levels:
        above = values >= level
        for axis, step in enumerate(((1, 0), (0, 1))):
            y, x = np.nonzero(np.diff(above, axis=axis))
            here, there = values[y, x], values[y + step[0], x + step[1]]
            part = (level - here) / (there - here)
            points.append((y + part * step[0], x + part * step[1]))
    y, x = (np.concatenate(parts) for parts in zip(*points, strict=True))
    rows, columns = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    distance = np.full((values.shape[0] + 2 * reach, values.shape[1] + 2 * reach), np.inf)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            place = (rows + down + reach) * distance.shape[1] + columns + right + reach
            np.minimum.at(distance.reshape(-1), place, np.hypot(rows + down - y, columns + right - x))
    return distance[reach:-reach, reach:-reach]
