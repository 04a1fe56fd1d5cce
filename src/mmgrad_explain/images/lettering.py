"""Text in drawn images: a font, and lines of bounded width."""

import bisect
import functools
import importlib.util
from pathlib import Path
from typing import Any

from PIL import ImageFont


@functools.lru_cache(maxsize=32)
def load_font(size: int) -> Any:
    """Load DejaVu Sans, which has most alphabets, where matplotlib is installed; else the font of Pillow."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def line_height(font: Any) -> int:
    """Return the height of a line, in pixels."""
    return int(font.size * 1.35)


def text_width(text: str, font: Any, letters: int) -> int:
    """Return the width of the first ``letters`` characters of a text, in pixels."""
    return int(font.getlength(text[:letters]) + 1)


def wrap_text(text: str, font: Any, width: int, most: int) -> list[str]:
    """Break a text into at most ``most`` lines of ``width`` pixels; a text that is too long ends in an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < most:
        lengths, measured = range(1, len(rest) + 1), functools.partial(text_width, rest, font)
        fits = max(1, bisect.bisect_right(lengths, width, key=measured))
        if fits < len(rest):
            if len(lines) == most - 1:
                fits = bisect.bisect_right(lengths, width - text_width("…", font, 1), key=measured)
                rest = rest[: max(fits, 1)].rstrip() + "…"
                fits = len(rest)
            else:
                space = rest.rfind(" ", 0, fits + 1)
                fits = space if space > 0 else fits
        lines.append(rest[:fits])
        rest = rest[fits:].lstrip()
    return lines
