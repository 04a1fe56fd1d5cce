"""Progress bars on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.terminal import console, is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
_PAUSE = 0.1  # seconds between two drawings of a bar


@contextmanager
def quiet() -> Iterator[None]:
    """Show no bars inside the block: what it does is counted by a bar around it."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


class Bar:
    """A line on standard error for each kind of work, with how much of it is done; only on a terminal.

    It starts no thread, since data workers are forked beside it; :meth:`show` draws it. As a context manager it leaves
    the terminal in order whatever happens in the block.
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
            what: The kind of work, such as ``"images"``; each has a line of its own.
            done: How much is done.
            of: How much there is, where that is known.
            beside: A few words for the end of the line.
        """
        if _QUIET.get() or not is_terminal(sys.stderr):
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
        """Draw a last time, and leave the lines there."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._lines = {}


def _progress() -> Any:
    """Start a display of rich; the cursor stays visible, since a process that is killed could not restore it."""
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
