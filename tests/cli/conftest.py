"""What tests of the commands share."""

import os
import signal
import sys

import pytest


@pytest.fixture
def command_line():
    """How a process of its own is started that takes SIGINT as a terminal's does, however this one was started.

    A shell starts what it puts in the background with SIGINT ignored, and every child inherits that.
    """

    def words(*arguments, interrupt="default_int_handler"):
        code = (
            f"import signal, sys; signal.signal(signal.SIGINT, signal.{interrupt}); "
            "from mmgrad_explain.cli.main import main; raise SystemExit(main(sys.argv[1:]))"
        )
        return [sys.executable, "-u", "-c", code, *arguments]

    return words


@pytest.fixture
def ignored():
    """SIGINT is ignored, as in a process that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def failed():
    """Exit code 2, one line that says all the parts, no traceback, nothing on stdout."""

    def check(result, *parts):
        code, out, err = result
        assert code == 2
        assert out == ""
        assert err.startswith("mmgrad-explain")
        assert err.count("\n") == 1
        for part in parts:
            assert part in err

    return check


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The command on the PATH, and files to complete, in the current folder."""
    path = tmp_path / "bin" / "mmgrad-explain"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmgrad_explain "$@"\n')
    path.chmod(0o755)
    (tmp_path / "photos").mkdir()
    for name in ("query.jpg", "my picture.png", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return path
