"""How far a command has come, on one line."""

from __future__ import annotations

import sys


class Line:
    """One line that is written over, on a terminal only."""

    def __init__(self) -> None:
        self.shown = False

    def write(self, text: str) -> None:
        """Show a text in the place of the one before."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self.shown = True

    def end(self) -> None:
        """Leave the line."""
        if self.shown:
            sys.stderr.write("\n")


class Progress(Line):
    """Of a command that makes triplets.

    Args:
        count: How many triplets there will be; None where that is not known.
    """

    def __init__(self, count: int | None) -> None:
        super().__init__()
        self.count = count

    def __call__(self, triplets: int, photographs: int | None = None) -> None:
        """Show how many triplets there are, and from how many photographs."""
        goal = "" if self.count is None else f" of {self.count}"
        origin = "" if photographs is None else f" from {photographs} photographs"
        self.write(f"{triplets}{goal} triplets{origin} ")
