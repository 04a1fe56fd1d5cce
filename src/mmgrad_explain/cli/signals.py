"""How a running command is asked to stop: Ctrl-C, or SIGTERM.

A shell that starts a command in the background (``command &``, ``nohup``, many CI runners) lets it ignore SIGINT, so
that Ctrl-C in the foreground does not reach it. This is kept. SIGTERM, which ``kill PID`` sends, always stops a
command, in the same way: what is done is kept, and the command that goes on is printed.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM: a command handles it as it handles Ctrl-C."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` inside the block; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(number: int, _frame: object) -> NoReturn:
        if os.getpid() != owner:  # a worker process, which is ended by its pool
            os._exit(128 + number)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
