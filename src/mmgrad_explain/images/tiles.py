"""How large pictures are drawn: the height of tiles that stand side by side, and pictures that fit into a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

HIGHEST, NOTEBOOK = 1024, 480
"""Pixels of the highest tile, in a file and in a notebook."""
WIDEST = 3
"""A tile is at most so many times as wide as high."""
_LOWEST = 320  # pixels of the lowest tile: smaller pictures are enlarged


def tile_height(pictures: Sequence[Image.Image], most: int = HIGHEST) -> int:
    """Give the height of tiles for pictures, in pixels: that of the tallest, within bounds."""
    return min(max(_LOWEST, *(picture.height for picture in pictures)), most)


def fitted(picture: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Give the width and height, in pixels, at which a picture fills as much of a box as its shape allows."""
    ratio = min(height / picture.height, width / picture.width)
    return max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))


def shrunk(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Make a picture fit into a box of so many pixels; one that is no larger stays as it is."""
    if picture.width <= width and picture.height <= height:
        return picture
    return picture.resize(fitted(picture, width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
