"""Help that fits the terminal: prose is wrapped, lists are indented, and commands break as a shell allows."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import Any

_WIDEST = 100  # columns; longer lines are hard to read
_COMMAND = re.compile(r"  (?:cat|mmgrad-explain|ssh) ")
_ENTRY = re.compile(r"  (\S.*?\s{2,})\S")  # "  name   what it is"
_WORD = re.compile(r"""(?:-\S+ (?=[^-\s]))?(?:"[^"]*"|'[^']*'|[^\s"'])+""")  # an option with its value


class HelpFormatter(argparse.HelpFormatter):
    """Formats help at most 100 columns wide, without breaks at hyphens."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **options)
        self._width: int = min(self._width, _WIDEST)

    def add_argument(self, action: argparse.Action) -> None:
        """Reserve the width of the commands' names, which are indented."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  (argparse has no other name for it)
            longest = max(map(len, action.choices)) + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, longest)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent(wrap_help(text, width - len(indent)), indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrap(" ".join(text.split()), width)


def wrap_help(text: str, width: int) -> str:
    """Wrap a help text.

    Args:
        text: Lines of prose, which are joined; lines that begin with two spaces, which are kept and continue in lines
            with more spaces; empty lines, which are kept.
        width: The width, in columns.

    Returns:
        Lines of at most this width, except for longer words. Commands that continue end in a backslash.
    """
    lines: list[str] = []
    for line in text.splitlines():
        continues = lines and lines[-1] and (line.startswith("   ") or not line.startswith(" ")) and line
        if continues and (line.startswith("   ") or not lines[-1].startswith(" ")):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return "\n".join(part for line in lines for part in _wrap_line(line, width))


def _wrap_line(line: str, width: int) -> list[str]:
    if len(line) <= width or not line.startswith(" "):
        return _wrap(line, width) or [""]
    if _COMMAND.match(line):
        return _break_command(line, width)
    entry = _ENTRY.match(line)
    hanging = " " * (len(entry[1]) + 2 if entry and len(entry[1]) < width // 2 else 4)
    first = entry[0][:-1] if entry else "  "
    return _wrap(line[len(first) :], width, first, hanging)


def _wrap(text: str, width: int, first: str = "", hanging: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _break_command(command: str, width: int) -> list[str]:
    """Break a command into lines that a shell can read."""
    lines = ["  "]
    for word in _WORD.findall(command):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 3 > width:
            lines.append("      ")
        lines[-1] += word if lines[-1].endswith("  ") else f" {word}"
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
