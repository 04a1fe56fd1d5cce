"""Print plain lines, and on a terminal the same with tables and colours."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.redaction import redact
from mmgrad_explain._system.terminal import console, is_decorated

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from rich.text import Text

_KEY = re.compile(r"  ([a-z][a-z ]*?)  +\S")  # "  score   shift = 0.5"
_LEAST = 10  # columns of a terminal, for a column that may be broken
_REMARK = re.compile(r"(note|odd|  note|  problem)\b")


@dataclass(frozen=True)
class Table:
    """A table for terminals that are wide enough, and plain lines for everything else.

    Attributes:
        head: Names of the columns.
        rows: The cells of each row.
        plain: The plain lines.
        numbers: Indices of columns with numbers, which are aligned to the right.
        marked: Indices of rows to highlight.
        broken: Indices of columns that may be wrapped; the others stay whole, so that they can be copied.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    plain: str
    numbers: Container[int] = ()
    marked: Container[int] = ()
    broken: Container[int] = ()


def show(*parts: str | Table) -> None:
    """Write parts to standard output, one below the other.

    Args:
        parts: Lines or tables. A terminal highlights the first line, the first line of each part of several lines,
            names before values, and notes.
    """
    if not is_decorated(sys.stdout):
        sys.stdout.write("".join(f"{part.plain if isinstance(part, Table) else part}\n" for part in parts))
        return
    screen = console(sys.stdout)
    for number, part in enumerate(parts):
        if isinstance(part, Table) and _width(part) <= screen.width:
            screen.print(_drawn(part))
            continue
        first, *more = (part.plain if isinstance(part, Table) else part).split("\n")
        screen.print(_painted(first, heading=bool(more) or number == 0), soft_wrap=True)
        for line in more:
            screen.print(_painted(line, heading=False), soft_wrap=True)


def note(text: str) -> None:
    """Write a note on a result to standard error."""
    _say("note", text, "yellow")


def complain(program: str, text: str) -> None:
    """Write an error to standard error, as one line."""
    _say(program, " ".join(text.split()), "red")


def _say(label: str, text: str, colour: str) -> None:
    label, text = redact(label), redact(text)
    if not is_decorated(sys.stderr):
        sys.stderr.write(f"{label}: {text}\n")
        return
    from rich.text import Text

    console(sys.stderr).print(Text.assemble((f"{label}:", f"bold {colour}"), f" {text}"), soft_wrap=True)


def _painted(line: str, *, heading: bool) -> Text:
    from rich.text import Text

    painted = Text(line)
    if key := _KEY.match(line):
        painted.stylize("cyan", *key.span(1))
    elif remark := _REMARK.match(line):
        painted.stylize("yellow", *remark.span(1))
    elif heading:
        painted.stylize("bold")
    return painted


def _width(table: Table) -> int:
    """Return the least width of a terminal for a table, in columns."""
    from rich.cells import cell_len

    needed = 2 * len(table.head)
    for number, column in enumerate(zip(table.head, *table.rows, strict=True)):
        whole = max(cell_len(line) for cell in column for line in cell.split("\n"))
        needed += min(whole, _LEAST) if number in table.broken else whole
    return needed


def _drawn(table: Table) -> Any:
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False)
    for number, name in enumerate(table.head):
        side: Any = "right" if number in table.numbers else "left"
        drawn.add_column(Text(name), justify=side, overflow="fold", no_wrap=number not in table.broken)
    for number, row in enumerate(table.rows):
        drawn.add_row(*map(Text, row), style="bold green" if number in table.marked else None)
    return drawn
