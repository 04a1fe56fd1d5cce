"""One process at a time in a folder, whatever becomes of it."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from mmgrad_explain._system import locking
from mmgrad_explain._system.locking import LOCK, locked
from mmgrad_explain.errors import InputError, UnlockedWarning

HOLDER = """
import os, pathlib, signal, sys, time
from mmgrad_explain._system.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        time.sleep(60)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_behind(tmp_path):
    with locked(tmp_path / "a" / "b"):
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [LOCK]
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_one_at_a_time(tmp_path):
    with locked(tmp_path):
        with pytest.raises(InputError, match="is in use by another process: wait until it is done"), locked(tmp_path):
            pass
        with pytest.raises(InputError, match="is in use"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_frees_it_though_a_child_lives_on(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(InputError, match="is in use by another process"), locked(tmp_path):
            pass
        holder.stdin.close()
        assert holder.wait(30) == -signal.SIGKILL
        os.kill(child, 0)
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), ImportError("no fcntl")])
def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(locking, "_lock", refuse)
    with (
        pytest.warns(UnlockedWarning, match=r"cannot be locked on this system .*: see to it that no other process"),
        locked(tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    real, calls = locking._lock, []

    def late(file):
        real(file)
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()

    monkeypatch.setattr(locking, "_lock", late)
    with locked(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK).exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder"), locked(tmp_path / "file"):
        pass
