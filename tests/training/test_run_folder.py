"""What is said where a checkpoint cannot be written."""

import errno
from types import SimpleNamespace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training import run_folder
from mmgrad_explain.training.run_folder import writing_checkpoint


@pytest.mark.parametrize(
    ("error", "free", "why"),
    [
        (RuntimeError("[enforce fail at inline_container.cc] unexpected pos 677248 vs 677140"), 0, "the disk is full"),
        (ValueError("I/O error: No space left on device (os error 28)"), 2**30, "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), 2**30, "Read-only file system"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch, error, free, why):
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(InputError) as caught, writing_checkpoint(tmp_path):
        raise error
    assert str(caught.value) == (
        f"no checkpoint can be written into {tmp_path}: {why}: make room, and go on from the one before with --resume"
    )


def test_a_bug_stays_a_bug(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    with pytest.raises(RuntimeError, match="odd"), writing_checkpoint(tmp_path):
        raise RuntimeError("odd")
