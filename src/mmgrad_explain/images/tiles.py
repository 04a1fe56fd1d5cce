"""Sizes of drawn images: the height of tiles side by side, and images that fit into a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

HIGHEST, NOTEBOOK = 1024, 480
"""The largest height of a tile, in pixels: in a file and in a notebook."""
WIDEST = 3
"""The largest width of a tile, as a multiple of its height."""
_LOWEST = 320  # pixels; smaller images are enlarged to this height


def tile_height(images: Sequence[Image.Image], most: int = HIGHEST) -> int:
    """Return the height of tiles for images, in pixels: that of the tallest, within bounds."""
    return min(max(_LOWEST, *(image.height for image in images)), most)


def fit_size(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return the width and height, in pixels, of an image enlarged or shrunk until it fits exactly into a box."""
    ratio = min(height / image.height, width / image.width)
    return max(1, round(image.width * ratio)), max(1, round(image.height * ratio))


def shrink(image: Image.Image, width: int, height: int) -> Image.Image:
    """Shrink an image until it fits into a box, in pixels; a smaller one is returned as it is."""
    if image.width <= width and image.height <= height:
        return image
    return image.resize(fit_size(image, width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
