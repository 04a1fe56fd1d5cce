"""What is said of a command that could not be finished, and how it ends."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmgrad_explain.cli import failures as failing
from mmgrad_explain.cli.commands import layers
from mmgrad_explain.errors import CaptureError, InputError, OutputExistsError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("FORCE_COLOR", "MMGRAD_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def raising(run, monkeypatch):
    """A command that raises something."""

    def call(error):
        def broken(_options):
            raise error

        monkeypatch.setattr(layers, "run", broken)
        return run("layers")

    return call


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("two\n  lines"), "two lines"),
        (OutputExistsError("a.png is there already: ask to overwrite"), "a.png is there already: add --overwrite"),
        (
            CaptureError("target_layers: there is no layer 'x'; did you mean 'y'?"),
            "--layer: there is no layer 'x'; did you mean 'y'? (mmgrad-explain layers lists them)",
        ),
        (
            InputError("x holds nothing of cirr: there is no y"),
            "x holds nothing of cirr: there is no y (mmgrad-explain data check --help says what belongs there)",
        ),
        (InputError("leave answer and answer_part out"), "leave --answer and --answer-part out"),
        (
            OSError(errno.ENOSPC, "No space left on device", "run/metrics.jsonl"),
            "run/metrics.jsonl: No space left on device: free some space, or write to another disk",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            "x: Permission denied: change its permissions, or choose another place",
        ),
        (OSError(errno.EIO, "Input/output error", "x"), "x: Input/output error: check the place, or choose another"),
        (MemoryError(), "out of memory: take fewer pictures at once (--batch), smaller ones, or --device cpu"),
    ],
)
def test_what_the_user_can_put_right(raising, error, said):
    assert raising(error) == (2, "", f"mmgrad-explain: {said}\n")


def test_memory_of_an_accelerator(raising):
    import torch

    assert "out of memory: take fewer" in raising(torch.OutOfMemoryError("CUDA out of memory. Tried ..."))[2]


def test_ctrl_c(raising):
    assert raising(KeyboardInterrupt()) == (130, "", "mmgrad-explain: stopped\n")
    assert raising(KeyboardInterrupt("go on")) == (130, "", "mmgrad-explain: stopped: go on\n")


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["train", "tiny"], "train tiny --resume"),
        (["train", "tiny", "--resume"], "train tiny --resume"),
        (["train", "--", "tiny"], "train --resume -- tiny"),
        (["train", "tiny", "--out", "my runs"], "train tiny --out 'my runs' --resume"),
    ],
)
def test_the_command_that_goes_on(typed, command):
    assert failing.resume_command(typed) == f"mmgrad-explain {command}"


@pytest.mark.parametrize("error", [ValueError("a\nb"), OSError("no number"), OSError(errno.EBADF, "Bad descriptor")])
def test_a_bug_is_told_with_a_file_to_report(raising, tmp_path, monkeypatch, error):
    monkeypatch.setattr(failing.tempfile, "tempdir", str(tmp_path))
    code, out, err = raising(error)
    assert (code, out, err.count("\n")) == (1, "", 1)
    said = re.fullmatch(
        rf"mmgrad-explain: unexpected {type(error).__name__}: .*\. This is a bug; please report it with (\S+), which "
        r"holds the traceback and what you typed \(MMGRAD_DEBUG=1 prints the traceback instead\)\n",
        err,
    )
    report = Path(said[1]).read_text()
    assert report.startswith("mmgrad-explain ")
    assert "Traceback" in report
    assert "in broken" in report


def test_a_bug_on_a_full_disk_prints_its_traceback(raising, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing.tempfile, "NamedTemporaryFile", full)
    code, _, err = raising(ValueError("odd"))
    assert code == 1
    assert (
        "ValueError: odd\nmmgrad-explain: unexpected ValueError: odd. This is a bug; please report it with the" in err
    )


def test_a_developer_sees_the_traceback(raising, monkeypatch):
    monkeypatch.setenv("MMGRAD_DEBUG", "1")
    code, out, err = raising(ValueError("odd"))
    assert (code, out, err.splitlines()[-1]) == (1, "", "ValueError: odd")
    assert "in broken" in err
    assert raising(InputError("wrong"))[0] == 2


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("kind", [InputError, ValueError])
def test_no_secret_is_told(raising, tmp_path, monkeypatch, kind, debug):
    """Not in a line, a traceback, or what is kept to be reported."""
    monkeypatch.setattr(failing.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["mmgrad-explain", "index", "--gallery", "http://me:hunter2@host"])
    monkeypatch.setenv("MMGRAD_DEBUG", debug)
    code, out, err = raising(kind("http://me:hunter2@host:1/?token=hunter2 does not answer"))
    assert (code, out) == (2 if kind is InputError else 1, "")
    assert "://***@host:1/?token=*** does not" in err
    assert "hunter2" not in err + "".join(path.read_text() for path in tmp_path.rglob("*.txt"))


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "mmgrad_explain", *arguments], stderr=subprocess.PIPE, text=True, check=False, **options
    )


def test_a_reader_that_goes_away_is_no_error():
    """As in ``mmgrad-explain completion bash | head -1``, which reads less than a pipe holds."""
    import os

    read, write = os.pipe()
    os.close(read)
    done = command("completion", "bash", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_behind_standard_output_is_told():
    with Path("/dev/full").open("w") as full:
        done = command("completion", "bash", stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "mmgrad-explain: cannot write: No space left on device: free some space, or write to another disk\n"
    )
