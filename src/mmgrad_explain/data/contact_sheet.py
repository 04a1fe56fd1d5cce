"""Draws many triplets in one picture: reference, mask, target and text of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmgrad_explain.data.edits.masks import dilate_mask
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.triplets import Triplet

_GROUND, _INK, _PALE = (250, 250, 250), (20, 20, 20), (110, 110, 110)
_OUTLINE = (255, 0, 220)
_GAP = 4  # pixels between images
_LINES = 2  # of text
_WIDEST = 1.2  # an image's width, in heights of a row


def draw_contact_sheet(triplets: Sequence[Triplet], *, columns: int = 3, height: int = 160) -> Image.Image:
    """Draw triplets side by side; masks are outlined on the dimmed reference.

    Args:
        triplets: Row by row.
        columns: Triplets in a row.
        height: Of each image, in pixels.

    Returns:
        An RGB image; rows are as wide as the widest triplet.

    Raises:
        InputError: There are no triplets, a number is not positive, or a file is missing or damaged.
    """
    if not triplets:
        raise InputError("triplets is empty: there is nothing to show")
    if columns < 1 or height < 32:
        raise InputError(f"columns must be at least 1 and height at least 32, got {columns} and {height}")
    tiles = [_draw_tile(triplet, height) for triplet in triplets]
    width = max(tile.width for tile in tiles) + 3 * _GAP
    tall = tiles[0].height + 2 * _GAP
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * tall), _GROUND)
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width + _GAP, i // columns * tall + _GAP))
    return sheet


def choose_evenly(triplets: Sequence[Triplet], count: int) -> list[Triplet]:
    """Choose triplets evenly spaced in a set, in its order."""
    if count >= len(triplets):
        return list(triplets)
    return [triplets[i * len(triplets) // count] for i in range(count)]


def _draw_tile(triplet: Triplet, height: int) -> Image.Image:
    reference, target, mask = triplet.read_images()
    marked = np.where(mask[..., None], reference, reference // 3 + 150).astype(np.uint8)
    edge = dilate_mask(mask, max(1, mask.shape[0] // 160)) & ~mask
    marked[edge] = _OUTLINE
    pictures = [_scale(pixels, height) for pixels in (reference, marked, target)]
    size = max(10, height // 12)
    font = ImageFont.load_default(size)
    width = sum(picture.width for picture in pictures) + 2 * _GAP
    tile = Image.new("RGB", (width, height + (_LINES + 1) * (size + 3)), _GROUND)
    left = 0
    for picture in pictures:
        tile.paste(picture, (left, 0))
        left += picture.width + _GAP
    draw = ImageDraw.Draw(tile)
    lines = _wrap(draw, font, triplet.text, width)[:_LINES]
    for i, line in enumerate(lines):
        draw.text((0, height + 2 + i * (size + 3)), line, _INK, font)
    note = f"{triplet.edit}, change {triplet.de_in:.0f}, area {triplet.area_frac:.0%}"
    draw.text((0, height + 2 + len(lines) * (size + 3)), note, _PALE, font)
    return tile


def _scale(pixels: npt.NDArray[np.uint8], height: int) -> Image.Image:
    """Scale an image to the height of the row, or less where it would become too wide."""
    image = Image.fromarray(pixels)
    scale = min(height / image.height, _WIDEST * height / image.width)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _wrap(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, width: int
) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
