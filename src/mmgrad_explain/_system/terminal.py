"""What a terminal is shown: whether there is one, colours where it takes them, and how far something has come."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_PAUSE = 0.1  # seconds between two drawings of a bar


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can do more than write letters, which ``TERM=dumb`` cannot."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def is_decorated(stream: TextIO) -> bool:
    """Whether tables and colours belong on a stream: on a terminal, and anywhere with ``FORCE_COLOR``."""
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def console(stream: TextIO) -> Console:
    """A console of rich on a decorated stream; it writes no colours where ``NO_COLOR`` is set."""
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=True,
        force_jupyter=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


class Bar:
    """How far something has come: a line for each kind of work on standard error, on a terminal alone.

    It starts no thread, since data workers are forked beside it, and is drawn when something was shown. As a context
    manager it leaves the terminal in order whatever happens in the block.
    """

    def __init__(self) -> None:
        self._progress: Any = None
        self._lines: dict[str, Any] = {}
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def show(self, what: str, done: int, of: int | None = None, beside: str = "") -> None:
        """Show how much of a kind of work is done.

        Args:
            what: The kind of work, ``"pictures"``; its first showing puts a line up.
            done: How many.
            of: Of how many, where that is known.
            beside: A few words at the end of the line.
        """
        if not is_terminal(sys.stderr):
            return
        if self._progress is None:
            self._progress = _progress()
        if what not in self._lines:
            self._lines[what] = self._progress.add_task(what, completed=done, total=of, beside=beside)
        self._progress.update(self._lines[what], completed=done, total=of, beside=beside)
        if done == of or time.monotonic() - self._drawn >= _PAUSE:
            self._progress.refresh()
            self._drawn = time.monotonic()

    def end(self) -> None:
        """Draw a last time and leave the lines."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._lines = {}


def _progress() -> Any:
    """A display of rich, put up; the cursor stays, since a process that is killed could not bring it back."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console(sys.stderr)
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[beside]}", markup=False),
        console=screen,
        auto_refresh=False,
        redirect_stdout=False,
    )
    shown.start()
    screen.show_cursor(show=True)
    return shown
