"""The processes that make a triplet set: tasks go out ahead, results come back in the order of the tasks."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_Made = TypeVar("_Made")
_AHEAD = 4  # tasks that are sent out for each worker


def make_in_order(
    make: Callable[..., _Made], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Generator[tuple[_Made, float]]:
    """Make each task, in worker processes if there are several workers and several tasks.

    Args:
        make: Makes one task; must be picklable, like the tasks.
        tasks: The arguments of ``make``.
        workers: Processes; with 1 everything runs in this one.

    Yields:
        What ``make`` returns, in the order of the tasks, and the CPU seconds that another process spent on it.

    Raises:
        InputError: A worker was killed.
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield make(*task), 0.0
        return
    queue = iter(tasks)
    pool = ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), prepare_worker)
    try:
        waiting = deque(pool.submit(_make_timed, make, task) for task in islice(queue, _AHEAD * workers))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_make_timed, make, task) for task in islice(queue, 1))
            yield result
    except BrokenProcessPool as error:
        raise InputError("a worker was killed, maybe for memory: go on with --resume and fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_worker() -> None:
    """Limit a worker process to one thread, end it together with its parent, and leave Ctrl-C to the parent."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent_process() is not None:
        Thread(target=_end_with_parent, daemon=True).start()


def _make_timed(make: Callable[..., _Made], task: tuple[Any, ...]) -> tuple[_Made, float]:
    began = time.thread_time()
    made = make(*task)
    return made, time.thread_time() - began


def _end_with_parent() -> None:
    """End this process when its parent ends; else it would write into a folder that others may use by then."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
