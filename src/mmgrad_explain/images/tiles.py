"""Sizes of drawn images: the height of tiles side by side, and images that fit into a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

HIGHEST, NOTEBOOK = 1024, 480
"""Most pixels of a tile's height, in a file and in a notebook."""
WIDEST = 3
"""Most width of a tile, as a multiple of its height."""
_LOWEST = 320  # least pixels of a tile's height: smaller images are enlarged


def tile_height(pictures: Sequence[Image.Image], most: int = HIGHEST) -> int:
    """Return the height of tiles for images, in pixels: that of the tallest, within bounds."""
    return min(max(_LOWEST, *(picture.height for picture in pictures)), most)


def fitted(picture: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return the width and height, in pixels, of an image enlarged or shrunk until it fits exactly into a box."""
    ratio = min(height / picture.height, width / picture.width)
    return max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))


def shrunk(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Shrink an image until it fits into a box, in pixels; a smaller one is returned as it is."""
    if picture.width <= width and picture.height <= height:
        return picture
    return picture.resize(fitted(picture, width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
