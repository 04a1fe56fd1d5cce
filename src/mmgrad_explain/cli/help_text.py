"""Help that fits the terminal: prose is filled, lists hang, and commands break where a shell lets them."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import Any

_WIDEST = 100  # columns: longer lines are hard to read
_COMMAND = re.compile(r"  (?:cat|mmgrad-explain|ssh) ")
_ENTRY = re.compile(r"  (\S.*?\s{2,})\S")  # "  name   what it is"
_WORD = re.compile(r"""(?:-\S+ (?=[^-\s]))?(?:"[^"]*"|'[^']*'|[^\s"'])+""")  # an option and its value stay together


class HelpFormatter(argparse.HelpFormatter):
    """As argparse's, no wider than 100 columns; words with hyphens stay whole."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **options)
        self._width: int = min(self._width, _WIDEST)

    def add_argument(self, action: argparse.Action) -> None:
        """Leave room for the names of commands, which stand further to the right."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  (argparse has no other name for it)
            longest = max(map(len, action.choices)) + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, longest)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent(fill(text, width - len(indent)), indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(" ".join(text.split()), width)


def fill(text: str, width: int) -> str:
    """Fit a text into a width.

    Args:
        text: Lines of prose, which are joined; lines that begin with two spaces, which stay for themselves and go on in
            lines that begin with more; empty lines, which stay.
        width: In columns.

    Returns:
        Lines of at most so many columns, but for single words that are longer. Lines that are commands end in a
        backslash where they go on.
    """
    lines: list[str] = []
    for line in text.splitlines():
        goes_on = lines and lines[-1] and (line.startswith("   ") or not line.startswith(" ")) and line
        if goes_on and (line.startswith("   ") or not lines[-1].startswith(" ")):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return "\n".join(part for line in lines for part in _filled(line, width))


def _filled(line: str, width: int) -> list[str]:
    if len(line) <= width or not line.startswith(" "):
        return _wrapped(line, width) or [""]
    if _COMMAND.match(line):
        return _broken(line, width)
    entry = _ENTRY.match(line)
    hanging = " " * (len(entry[1]) + 2 if entry and len(entry[1]) < width // 2 else 4)
    first = entry[0][:-1] if entry else "  "
    return _wrapped(line[len(first) :], width, first, hanging)


def _wrapped(text: str, width: int, first: str = "", hanging: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _broken(command: str, width: int) -> list[str]:
    """A command on several lines, as a shell takes it."""
    lines = ["  "]
    for word in _WORD.findall(command):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 3 > width:
            lines.append("      ")
        lines[-1] += word if lines[-1].endswith("  ") else f" {word}"
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
