"""How far a command has come, on one line."""

from __future__ import annotations

import sys


class Progress:
    """One line that is written over, on a terminal only.

    Args:
        count: How many triplets there will be; None where that is not known.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.shown = False

    def __call__(self, triplets: int, photographs: int | None = None) -> None:
        """Show how many triplets there are, and from how many photographs."""
        if sys.stderr.isatty():
            goal = "" if self.count is None else f" of {self.count}"
            origin = "" if photographs is None else f" from {photographs} photographs"
            sys.stderr.write(f"\r{triplets}{goal} triplets{origin} ")
            sys.stderr.flush()
            self.shown = True

    def end(self) -> None:
        """Leave the line."""
        if self.shown:
            sys.stderr.write("\n")
