"""SIGTERM ends a command as Ctrl-C does."""

import os
import signal
import threading

import pytest

from mmgrad_explain.cli.signals import Terminated, stop_on_sigterm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def test_sigterm_is_raised_inside_the_block():
    with pytest.raises(Terminated), stop_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_was_there_before_comes_back():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("mine"))
    try:
        with pytest.raises(ZeroDivisionError), stop_on_sigterm():
            raise ZeroDivisionError
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["mine"]


def test_ctrl_c_that_is_ignored_stays_ignored(ignored):
    with stop_on_sigterm():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_worker_process_just_ends():
    """Its pool ends it; it must not run what its parent does when it is stopped."""
    with stop_on_sigterm():
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM


def test_another_thread_sets_no_handler():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with stop_on_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
