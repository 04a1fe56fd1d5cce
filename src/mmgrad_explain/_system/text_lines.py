r"""The lines of a text file, as JSON Lines has them: they end with ``\n`` or ``\r\n`` and with nothing else.

``str.splitlines`` and files that are opened as text also end a line at a vertical tab, U+0085, U+2028 or a lone
``\r``, which stand in the middle of names and sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLANKS = " \t"


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Read a text file.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no text of this encoding.
    """
    return split_lines(path.read_bytes().decode(encoding))


def split_lines(text: str) -> list[str]:
    """Split a text that was read as bytes, so that no end of a line has been changed."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def trimmed(line: str) -> str:
    """A line without the blanks and tabs around it, and with all that looks like a blank but belongs to a name."""
    return line.strip(_BLANKS)
