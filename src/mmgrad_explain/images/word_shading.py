"""A strip of words, each shaded by what it contributes to the score, for the space below an image.

Orange raises the score and blue lowers it; a deeper colour means a larger contribution. People with any common kind of
colour blindness can distinguish the two (the ends of ColorBrewer's PuOr and RdBu). The number below each word gives the
same value.
"""

import functools
from collections.abc import Sequence

from PIL import Image, ImageDraw

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.lettering import line_height, load_font, wrap_text

_UP, _DOWN, _NOTHING = (230, 97, 1), (33, 102, 172), (247, 247, 247)
_DARK, _LIGHT, _QUIET = "#000000", "#ffffff", "#5f5f5f"
_LEGEND = "words: orange raises the score, blue lowers it; each divided by the largest"


def shade(value: float) -> tuple[int, int, int]:
    """Return the colour of a value in [-1, 1], RGB: blue below 0, nearly white at 0, orange above.

    Raises:
        InputError: The value is outside [-1, 1].
    """
    if not -1.001 <= value <= 1.001:
        raise InputError(f"words: a value must be in [-1, 1], not {value:.4g}: divide by the largest magnitude first")
    end, part = (_UP if value > 0 else _DOWN), min(abs(value), 1.0)
    red, green, blue = (round(low + part * (high - low)) for low, high in zip(_NOTHING, end, strict=True))
    return red, green, blue


def word_strip(words: Sequence[tuple[str, float]], width: int, *, letters: int = 16) -> Image.Image:
    """Draw words in a row, wrapped, each in a box of its colour with its value below.

    Args:
        words: Words, each with its value in [-1, 1].
        width: Width of the strip, in pixels.
        letters: Font size of the words, in pixels.

    Returns:
        The strip on white, RGB; its height follows from the words.

    Raises:
        InputError: A value is outside [-1, 1], or the strip is too narrow for a word.
    """
    if width < 4 * letters:
        raise InputError(f"words: a strip {width} pixels wide has no room for words of {letters} pixels")
    font, small = load_font(letters), load_font(max(9, round(letters * 0.7)))
    gap, pad = max(3, letters // 4), max(4, letters // 3)
    box, row = line_height(font) + pad // 2, line_height(font) + line_height(small) + 2 * gap
    placed, left, top = [], gap, gap
    for text, value in words:
        (shown,) = wrap_text(text, font, width - 2 * gap - 2 * pad, 1) or [""]
        number = f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")
        wide = int(max(font.getlength(shown) + 2 * pad, small.getlength(number) + gap))
        if left > gap and left + wide > width - gap:
            left, top = gap, top + row
        placed.append((left, top, wide, shown, number, value))
        left += wide + gap
    legend = wrap_text(_LEGEND if words else "words: the model read none", small, width - 2 * gap, 3)
    below = top + row if words else gap
    sheet = Image.new("RGB", (width, below + line_height(small) * len(legend) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for x, y, wide, shown, number, value in placed:
        draw.rounded_rectangle((x, y, x + wide, y + box), pad, shade(value), "#b0b0b0")
        draw.text((x + wide / 2, y + box / 2), shown, ink_on(shade(value)), font, anchor="mm")
        draw.text((x + wide / 2, y + box + gap // 2), number, _QUIET, small, anchor="ma")
    draw.multiline_text((gap, below), "\n".join(legend), _QUIET, small)
    return sheet


def add_words(image: Image.Image, words: Sequence[tuple[str, float]]) -> Image.Image:
    """Add a strip of words below an image, at the same width.

    Args:
        image: An image; usually a panel.
        words: As for :func:`word_strip`.
    """
    strip = word_strip(words, max(image.width, 160), letters=max(14, min(30, image.width // 40)))
    sheet = Image.new("RGB", (strip.width, image.height + strip.height), "white")
    sheet.paste(image, ((strip.width - image.width) // 2, 0))
    sheet.paste(strip, (0, image.height))
    return sheet


@functools.cache
def ink_on(ground: tuple[int, int, int]) -> str:
    """Return the colour of letters with more contrast on a background: dark or light (relative luminance, WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in ground)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _DARK if luminance > 0.179 else _LIGHT
