"""Checkpoints and weights in a run folder."""

import errno
from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.training import run_folder
from mmgrad_explain.training.run_folder import (
    find_complete_checkpoint,
    load_best,
    recover_last_checkpoint,
    translate_write_errors,
    versions,
)


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
    with pytest.raises(InputError) as caught, translate_write_errors(tmp_path):
        raise error
    assert str(caught.value) == (
        f"no checkpoint can be written into {tmp_path}: {why}: make room, and go on from the one before with --resume"
    )


def test_other_errors_are_not_translated(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    with pytest.raises(RuntimeError, match="odd"), translate_write_errors(tmp_path):
        raise RuntimeError("odd")


def test_only_complete_checkpoints_are_resumed_from(tmp_path):
    for step, files in ((2, ["trainer_state.json", "ema.safetensors"]), (10, ["trainer_state.json"]), (20, [])):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    assert recover_last_checkpoint(tmp_path, average=False).name == "checkpoint-10"
    assert not (tmp_path / "checkpoint-20").exists()
    assert recover_last_checkpoint(tmp_path, average=True).name == "checkpoint-2"
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{")
    assert recover_last_checkpoint(tmp_path, average=False) is None


def test_looking_for_a_checkpoint_removes_nothing(tmp_path):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert find_complete_checkpoint(tmp_path, average=True) is None  # of another config than the run's
    assert find_complete_checkpoint(tmp_path, average=False).name == "checkpoint-10"
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_beside_checkpoints_are_kept(tmp_path):
    for name in ("checkpoint-4", "checkpoint-best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "optimizer.pt").write_text("half")
        (tmp_path / name / "notes.txt").write_text("mine")
    assert recover_last_checkpoint(tmp_path, average=False) is None
    assert [path.name for path in (tmp_path / "checkpoint-4").iterdir()] == ["notes.txt"]
    assert len(list((tmp_path / "checkpoint-best").iterdir())) == 2


def test_the_best_weights_may_be_missing_or_damaged(tmp_path):
    layer = torch.nn.Linear(1, 1)
    assert load_best(tmp_path / "best.safetensors", layer) is None
    (tmp_path / "best.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"best.safetensors cannot be read"):
        load_best(tmp_path / "best.safetensors", layer)


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(run_folder, "_PACKAGES", ("torch", "surely-not-installed"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    found = versions()
    assert "surely-not-installed" not in found
    assert found["device"] == "a GPU"
