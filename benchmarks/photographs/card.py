"""Figures in a model's card: a script writes them between its own markers, so that nobody copies them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

END = "<!-- table: end -->"


def begin(script: str) -> str:
    """Return the line before what ``benchmarks/<script>`` writes; :data:`END` is the line after it."""
    return f"<!-- table: begin, by benchmarks/{script} -->"


def write_tables(card: Path, script: str, tables: str) -> None:
    """Write the tables of a script into a card, in place of those that are there.

    Raises:
        InputError: The card has no place for them.
    """
    before, marker, rest = card.read_text(encoding="utf-8").partition(begin(script))
    _, end, after = rest.partition(END)
    if not marker or not end:
        raise InputError(f"{card} has no place for the tables: put the lines {begin(script)!r} and {END!r} into it")
    card.write_text(f"{before}{marker}\n\n{tables.strip()}\n\n{END}{after}", encoding="utf-8")
