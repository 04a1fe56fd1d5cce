"""The processes that make a triplet set's pictures."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from threading import Thread


def prepare_worker() -> None:
    """Let a worker process use one thread, end with the process that started it, and leave Ctrl-C to that."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent_process() is not None:
        Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on writing into a folder that others have taken over."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
