"""Setting up the processes that prepare data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import TracebackType


def prepare_data_worker(_worker: int) -> None:
    """Limit a data worker to one thread, and keep it silent where the training is stopped while it takes a batch.

    The training process fetches each tensor's memory through a connection to the worker. A signal can stop it in the
    middle of that; the thread that serves the connection in the worker would print a traceback by ``sys.excepthook``.
    """
    torch.set_num_threads(1)
    sys.excepthook = _report_error


def _report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error, unless a connection ended early."""
    if not isinstance(error, OSError | EOFError):
        sys.__excepthook__(kind, error, trace)
