"""What the scripts share that write a table into a page of the documentation, or check the one that is there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

END = "<!-- table: end -->"


def begin(script: str) -> str:
    """The line before the table that ``docs/<script>`` writes; :data:`END` is the line after it."""
    return f"<!-- table: begin, by docs/{script} -->"


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Cells as a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def main(page: Path, script: str, table: Callable[[], str], arguments: list[str]) -> int:
    """Write the table between the two markers of the page, or with ``--check`` compare; 1 where they differ."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(begin(script))
    after = rest.partition(END)[2]
    fresh = f"{before}{begin(script)}\n\n{table()}\n\n{END}{after}"
    if "--check" in arguments:
        if fresh != text:
            sys.stderr.write(f"docs/{page.name} is not what the code says: run python docs/{script}\n")
        return int(fresh != text)
    page.write_text(fresh, encoding="utf-8")
    return 0
