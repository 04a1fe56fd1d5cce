"""Heat on images, for people to look at.

:func:`colorize` gives heat its colours, and :func:`blend` lays them on an image. Images and heat may be arrays, tensors
or PIL images, each in its own resolution; heat is in [0, 1]. Blending is faster where OpenCV is installed.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.colormaps import Pixels, color_table
from mmgrad_explain.images.heat import as_heat
from mmgrad_explain.images.mixing import mix
from mmgrad_explain.images.reading import open_pixels


def colorize(heat: object, colormap: str = "turbo") -> Pixels:
    """Colour heat by a colormap.

    Args:
        heat: (h, w) in [0, 1], or uint8 in [0, 255]; NaN counts as 0.
        colormap: turbo, jet, viridis, magma, inferno, plasma, gray or hot, or any colormap of matplotlib.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        InputError: ``heat`` is not in [0, 1] or not a map, or ``colormap`` is unknown.
    """
    return np.asarray(color_table(colormap).take(_levels(as_heat(heat)), axis=0), np.uint8)


def blend(
    image: object,
    heat: object,
    *,
    alpha: float = 0.5,
    colormap: str = "turbo",
    threshold: float = 0.0,
    fade: bool = True,
) -> Pixels:
    """Blend heat with an image.

    Args:
        image: An image of (H, W) pixels.
        heat: (h, w) in [0, 1] on any grid that evenly covers the image; it is resized bilinearly.
        alpha: Opacity of the colours where heat is 1, in [0, 1].
        colormap: As in :func:`colorize`.
        threshold: Where heat is below this the image is unchanged; in [0, 1).
        fade: Opacity grows from 0 with the heat, so that cold regions show the image; when false the opacity is
            ``alpha`` everywhere.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: ``alpha`` or ``threshold`` is out of range, ``heat`` is not in [0, 1], or ``colormap`` is unknown.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be in [0, 1], not {alpha}")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be in [0, 1), not {threshold}")
    pixels, cv2 = open_pixels(image), _cv2()
    steps = np.linspace(0, 1, 256)
    above = np.clip((steps - threshold) / (1 - threshold), 0, 1)
    opacity = alpha * (fade_in(above) if fade else (steps >= threshold))
    # Both tables depend on the heat alone: result = image * kept[heat] + added[heat].
    kept = np.rint(255 * (1 - opacity)).astype(np.uint8)
    added = np.rint(color_table(colormap) * opacity[:, None]).astype(np.uint8)
    if cv2 is not None:
        return mix(cv2, pixels, as_heat(heat), np.column_stack([added, kept]))
    levels = _levels(as_heat(heat, pixels.shape[:2]))
    mixed = pixels * np.take(kept.astype(np.uint16), levels)[..., None]
    mixed += 127
    mixed //= 255
    mixed += np.take(added, levels, axis=0)
    return np.asarray(np.minimum(mixed, 255), np.uint8)


def fade_in(heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the opacity for heat in [0, 1]: a smooth step that hides faint noise and reaches 1 at 0.6."""
    part = np.minimum(heat / 0.6, 1)
    return np.asarray(part * part * (3 - 2 * part))


def _levels(heat: npt.NDArray[np.float32]) -> Pixels:
    """Convert heat to indices into a colormap; ``heat`` is overwritten."""
    heat *= 255
    heat += 0.5
    return heat.astype(np.uint8)


def _cv2() -> Any:
    """Import OpenCV; None where it is missing, half uninstalled, or without its system libraries."""
    try:
        import cv2
    except (ImportError, OSError):
        return None
    return cv2 if hasattr(cv2, "applyColorMap") else None
