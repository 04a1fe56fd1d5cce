"""The processes that make a set."""

import os
import signal
import subprocess
import sys
import time

import cv2
import pytest

from mmgrad_explain.data.set_workers import make_in_order, prepare_worker
from mmgrad_explain.errors import InputError


def test_one_worker_makes_a_task_when_it_is_asked_for():
    begun = []
    results = make_in_order(lambda number: begun.append(number) or -number, [(1,), (2,)], 1)
    assert next(results) == (-1, 0.0)
    assert begun == [1]
    assert list(results) == [(-2, 0.0)]


def test_results_come_in_the_order_of_the_tasks():
    results = list(make_in_order(time.sleep, [(0.2,), (0,), (0,)], 2))
    assert [made for made, _ in results] == [None] * 3
    assert [made for made, _ in make_in_order(pow, [(n, 2) for n in range(20)], 2)] == [n * n for n in range(20)]


def test_a_killed_worker_is_reported():
    with pytest.raises(InputError, match="a worker was killed, maybe for memory: go on with --resume and fewer --work"):
        list(make_in_order(os._exit, [(1,), (1,)], 2))


def test_a_worker_has_one_thread_and_leaves_ctrl_c_to_the_main_process():
    before, threads = signal.getsignal(signal.SIGINT), cv2.getNumThreads()
    try:
        prepare_worker()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert cv2.getNumThreads() == 1
    finally:
        signal.signal(signal.SIGINT, before)
        cv2.setNumThreads(threads)


def test_a_worker_ends_with_its_parent(tmp_path):
    program = """
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from mmgrad_explain.data.set_workers import prepare_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), prepare_worker)
    print(pool.submit(abs, 1).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)  # until both have closed the pipe
    assert done.returncode == -signal.SIGKILL
    assert done.stdout
