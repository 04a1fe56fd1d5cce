"""Stopping a command by SIGTERM as by Ctrl-C.

A shell that starts a command in the background (``command &``, ``nohup``, many CI runners) makes it ignore SIGINT, so
Ctrl-C in the foreground does not reach it; this stays so. SIGTERM, which ``kill PID`` sends, always stops a command in
the same way: finished work is kept, and the command that resumes it is printed.
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
    """Raised by SIGTERM; commands handle it like Ctrl-C."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM inside the block; outside the main thread this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(number: int, _frame: object) -> NoReturn:
        if os.getpid() != owner:  # a worker process, which its pool ends
            os._exit(128 + number)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
