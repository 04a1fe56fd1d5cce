"""Terminals: whether a stream is one, and colours where it takes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move the cursor, which ``TERM=dumb`` cannot."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def is_decorated(stream: TextIO) -> bool:
    """Return whether a stream gets tables and colours: a terminal does, and with ``FORCE_COLOR`` any stream."""
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def console(stream: TextIO) -> Console:
    """Make a console of rich on a decorated stream; it writes no colours where ``NO_COLOR`` is set."""
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
