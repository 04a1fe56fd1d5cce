"""Draws masks of a composed-retrieval set: reference and target with what is marked, the text, and who marked it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmgrad_explain.data.masks.makers import read_image
from mmgrad_explain.data.masks.units import list_units
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmgrad_explain.data.cir.dataset import CirSet
    from mmgrad_explain.data.masks.cache import MaskCache

_HEIGHT, _GAP, _LINE = 140, 6, 14  # pixels
_MARK = np.array([255, 0, 220], np.float32)


def draw_mask_sheet(data: CirSet, masks: MaskCache, *, count: int = 24, columns: int = 3) -> Image.Image:
    """Draw captions, evenly spaced in the set, with their masks: what is marked keeps its colours.

    Args:
        data: The set.
        masks: Its masks.
        count: Captions to draw.
        columns: Captions in a row.

    Raises:
        InputError: There is nothing to draw.
    """
    every = [(part, i, unit) for part in masks.notes for i, unit in enumerate(list_units(data, part))]
    there = [entry for entry in every if entry[2].reference is not None and entry[2].target is not None]
    if not there or count < 1 or columns < 1:
        raise InputError("there is no caption with both images to show, or count or columns is below 1")
    shown = [there[i * len(there) // count] for i in range(count)] if count < len(there) else there
    tiles = []
    for part, index, unit in shown:
        pair = masks.read(part, index)
        pictures = [
            _mark(read_image(path)[0], mask)
            for path, mask in zip((unit.reference, unit.target), pair, strict=True)
            if path is not None
        ]
        note = masks.notes[part][index]
        about = f"{note['maker'] or 'no mask'} {note['words']}".strip()
        tiles.append((pictures, unit.text, about if note["maker"] else _reason(note)))
    wide = max(sum(one.width for one in pictures) + 2 * _GAP for pictures, *_ in tiles)
    tall = _HEIGHT + 2 * _LINE + 2 * _GAP
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * wide, -(-len(tiles) // columns) * tall), (250, 250, 250))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 3)
    for place, (pictures, text, about) in enumerate(tiles):
        left, top = place % columns * wide, place // columns * tall
        for line, words in enumerate((text, about)):
            draw.text((left + 2, top + _HEIGHT + 2 + line * _LINE), _cut(words, wide), (20 + 90 * line,) * 3, font)
        for picture in pictures:
            sheet.paste(picture, (left, top))
            left += picture.width + _GAP
    return sheet


def _mark(pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.float32]) -> Image.Image:
    image = Image.fromarray(pixels)
    image = image.resize((max(1, round(image.width * _HEIGHT / image.height)), _HEIGHT), Image.Resampling.BICUBIC)
    soft = Image.fromarray((mask * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    opacity = np.asarray(soft, np.float32)[..., None] / 255
    pale = np.asarray(image, np.float32)
    marked = opacity * pale + (1 - opacity) * (0.3 * pale + 0.7 * 235)
    inside = np.pad(opacity[..., 0] >= 0.5, 1, mode="edge")  # a line around it, however soft it is
    near = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    marked[inside[1:-1, 1:-1] & ~near] = _MARK
    return Image.fromarray(marked.clip(0, 255).astype(np.uint8))


def _reason(note: dict[str, object]) -> str:
    reasons = note["reasons"]
    return "; ".join(map(str, reasons.values())) if isinstance(reasons, dict) else ""


def _cut(text: str, wide: int) -> str:
    most = max(8, wide // 6)
    return text if len(text) <= most else text[: most - 1] + "…"
