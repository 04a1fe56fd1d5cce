"""A mark on a picture of a map that is not to be trusted: a band along its lower edge, and a frame.

The band is added below the picture and covers none of it. What it says is in its words and in the shape of its sign.
Its colours differ in lightness too, so that they are told apart with any kind of colour blindness and in grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image, ImageDraw

from mmgrad_explain.images.lettering import line_height, load_font, wrap_text

MarkLevel = Literal["fails", "doubtful"]
COLOURS: dict[MarkLevel, tuple[str, str]] = {"fails": ("#7a0019", "#ffffff"), "doubtful": ("#f2b705", "#1a1400")}
"""Ground and ink of each level; contrasts of 12 and 10 (WCAG 2)."""
_SMALLEST = 12  # pixels of letters
_MOST_LINES = 5


@dataclass(frozen=True)
class Mark:
    """What a picture is marked with.

    Attributes:
        level: ``"fails"``: not to be trusted; ``"doubtful"``: to be read with care.
        text: The reason, a few words.
    """

    level: MarkLevel
    text: str


def letters_for(width: int) -> int:
    """Return the size of a mark's letters on a picture of a width, in pixels.

    They can be read in a thumbnail, and where a large picture is shown on a screen.
    """
    return max(_SMALLEST, round(width / 28) if width < 800 else round(800 / 28 + (width - 800) / 40))


def mark_band(mark: Mark, width: int) -> Image.Image:
    """Draw the band of a mark.

    Args:
        mark: The mark.
        width: Width of the band, in pixels.

    Returns:
        The band, RGB; its height follows from the words.
    """
    ground, ink = COLOURS[mark.level]
    letters = letters_for(width)
    font, pad = load_font(letters), max(3, letters // 3)
    sign = round(letters * 1.25)
    room = max(letters, width - sign - 3 * pad)
    lines = wrap_text(mark.text, font, room, _MOST_LINES)
    step = line_height(font)
    height = max(sign, step * len(lines)) + 2 * pad
    band = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(band)
    _draw_sign(draw, mark.level, (pad, (height - sign) // 2), sign, (ground, ink))
    for number, line in enumerate(lines):
        middle = height / 2 + (number - (len(lines) - 1) / 2) * step
        draw.text((sign + 2 * pad, middle), line, ink, font, anchor="lm")
    return band


def add_mark(image: Image.Image, mark: Mark | None) -> Image.Image:
    """Add a mark below a picture, and a frame around both.

    Args:
        image: The picture.
        mark: The mark; None returns the picture as it is.

    Returns:
        A larger picture, RGB. What ``image.info`` holds is kept.
    """
    if mark is None:
        return image
    band, frame = mark_band(mark, image.width), frame_width(image.width)
    size = (image.width + 2 * frame, image.height + band.height + 2 * frame)
    sheet = Image.new("RGB", size, COLOURS[mark.level][0])
    sheet.paste(image, (frame, frame))
    sheet.paste(band, (frame, frame + image.height))
    sheet.info = dict(image.info)
    return sheet


def frame_width(width: int) -> int:
    """Return the width of the frame around a marked picture, in pixels."""
    return max(2, letters_for(width) // 6)


def _draw_sign(draw: Any, level: MarkLevel, corner: tuple[int, int], side: int, colours: tuple[str, str]) -> None:
    """Draw the sign of a level: a cross in a disc, or an exclamation mark in a triangle; shapes need no font."""
    (x, y), (ground, ink) = corner, colours
    thick = max(2, round(side / 7))
    if level == "fails":
        draw.ellipse((x, y, x + side - 1, y + side - 1), fill=ink)
        inset = round(side * 0.3)
        ends = (x + inset, y + inset, x + side - 1 - inset, y + side - 1 - inset)
        draw.line(ends, fill=ground, width=thick)
        draw.line((ends[0], ends[3], ends[2], ends[1]), fill=ground, width=thick)
        return
    middle = x + (side - 1) / 2
    draw.polygon(((middle, y), (x + side - 1, y + side - 1), (x, y + side - 1)), fill=ink)
    half = thick / 2
    draw.rectangle((middle - half, y + side * 0.36, middle + half, y + side * 0.66), fill=ground)
    draw.rectangle((middle - half, y + side * 0.76, middle + half, y + side * 0.76 + thick), fill=ground)
