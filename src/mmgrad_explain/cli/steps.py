"""How far a command has come that does one thing after the other, on one line."""

from __future__ import annotations

import sys


class Steps:
    """One line that is written over, on a terminal only; each step takes the place of the one before."""

    def __init__(self) -> None:
        self.shown = False

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show how many of how many there are of what is being done."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{what}: {done} of {of}")
            sys.stderr.flush()
            self.shown = True

    def end(self) -> None:
        """Leave the line."""
        if self.shown:
            sys.stderr.write("\n")
