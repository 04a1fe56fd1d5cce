"""A grid of drawn images, each with a title and short lines below it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.lettering import line_height, load_font, wrap_text
from mmgrad_explain.images.marks import Mark, add_mark, frame_width
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.tiles import fit_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_INK, _SOFT, _LINE, _BAD = "#1a1a1a", "#5f5f5f", "#d0d0d0", "#7a0019"
_NARROWEST = 190  # pixels of a column, for its lines


@dataclass(frozen=True)
class GridTile:
    """An image of the grid.

    Attributes:
        image: Anything ``open_image`` takes.
        title: Its title.
        lines: Names and values below the title, such as ``("occlusion", ".52")``.
        remark: A sentence below them; it stands out.
        mark: A mark on the image, which is drawn along its lower edge; None for none.
    """

    image: object
    title: str
    lines: tuple[tuple[str, str], ...] = ()
    remark: str = ""
    mark: Mark | None = None


def draw_tile_grid(
    tiles: Sequence[GridTile], *, columns: int = 4, side: int = 300, title: str = "", below: Sequence[str] = ()
) -> Image.Image:
    """Draw the grid on white.

    Args:
        tiles: At least one.
        columns: How many stand beside one another at most; rows are about equally long.
        side: The longest side of an image, in pixels.
        title: A text above the grid.
        below: Sentences below it, each a paragraph.

    Returns:
        The picture, RGB.

    Raises:
        InputError: There are no tiles, or ``columns`` or ``side`` is below 1.
    """
    if not tiles or columns < 1 or side < 1:
        raise InputError(f"a grid needs tiles, columns and a side: {len(tiles)} tiles, {columns} columns, side {side}")
    letters = max(12, round(side / 21))
    small, large, gap = load_font(letters), load_font(round(letters * 1.15)), max(10, side // 16)
    step, columns = line_height(small), math.ceil(len(tiles) / math.ceil(len(tiles) / columns))
    images = [open_image(tile.image) for tile in tiles]
    shown = [_scale(image, side, tile.mark) for image, tile in zip(images, tiles, strict=True)]
    cell = max(_NARROWEST, *(image.width for image in shown))
    width = columns * (cell + gap) + gap
    remarks = [wrap_text(tile.remark, small, cell, 4) for tile in tiles]
    titles = [wrap_text(tile.title, large, cell, 2) for tile in tiles]
    above = wrap_text(title, large, width - 2 * gap, 3)
    foot = [wrap_text(text, small, width - 2 * gap, 4) for text in below]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    picture_heights = [max(shown[place].height for place in row) for row in rows]
    text_heights = [
        max(
            line_height(large) * len(titles[place]) + step * (len(tiles[place].lines) + len(remarks[place]))
            for place in row
        )
        for row in rows
    ]
    top = gap + (line_height(large) * len(above) + gap // 2 if above else 0)
    height = top + sum(picture_heights) + sum(text_heights) + (gap + gap // 2) * len(rows)
    paragraph = step // 3  # between two
    height += sum(step * len(lines) + paragraph for lines in foot) + (gap if foot else 0)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((gap, gap), "\n".join(above), _INK, large)
    for row, picture_height, text_height in zip(rows, picture_heights, text_heights, strict=True):
        for column, place in enumerate(row):
            left = gap + column * (cell + gap)
            image = shown[place]
            sheet.paste(image, (left, top))
            if tiles[place].mark is None:  # a mark has a frame of its own
                draw.rectangle((left - 1, top - 1, left + image.width, top + image.height), outline=_LINE)
            y = top + picture_height + gap // 3
            for line in titles[place]:
                draw.text((left, y), line, _INK, large)
                y += line_height(large)
            for name, value in tiles[place].lines:
                draw.text((left, y), name, _SOFT, small)
                draw.text((left + cell, y), value, _INK, small, anchor="ra")
                y += step
            for line in remarks[place]:
                draw.text((left, y), line, _BAD, small)
                y += step
        top += picture_height + text_height + gap + gap // 2
    for lines in foot:
        for line in lines:
            draw.text((gap, top), line, _SOFT, small)
            top += step
        top += paragraph
    return sheet


def _scale(image: Image.Image, side: int, mark: Mark | None) -> Image.Image:
    """Scale an image to a side, with its mark below; the frame of a mark takes its room from the image."""
    width, height = fit_size(image, side, side)
    if mark is None:
        return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    inner = max(1, width - 2 * frame_width(width))
    size = (inner, max(1, round(height * inner / width)))
    return add_mark(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), mark)
