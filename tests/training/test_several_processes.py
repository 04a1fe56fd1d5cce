"""Training with two processes equals training with one process on the joined batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmgrad_explain.training.config_file import dump_config
from mmgrad_explain.training.run import train
from mmgrad_explain.training.trainer import GroundedTrainer

SCRIPT = Path(__file__).with_name("one_of_several.py")
STEPS = 20


def checkpoint(folder):
    return load_file(folder / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def config(micro):
    """Every loss that there is, each from another step on; two reference pictures, so that a process has one."""
    return micro(
        steps=STEPS,
        log_every=5,
        save_every=10,
        ema=0.9,
        device="auto",
        sources={"scenes": {"pictures": 2, "edits": 2}},
        retrieval={"memory": 9, "change": 0.5},
        dense={"weight": 0.3, "first": 0.1},
        optimizer={"lr": 1e-3, "warmup": 2},
        grounding={
            "contrast": 0.5, "margin": 0.3, "consistency": 0.4, "pooling": 0.2, "context": 0.2, "share": 0.5,
            "warm_start": 0.3, "ramp": 0.2, "anneal": 0.2, "final": 0.5,
        },
        evaluation={"every": 10, "best": "iou"},
    )  # fmt: skip


@pytest.fixture
def two(config, tmp_path):
    """Two processes, each with half of every batch; the folder that they wrote into."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "config.yaml").write_text(dump_config(config))
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, tmp_path / "config.yaml", tmp_path],
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank, "CUDA_VISIBLE_DEVICES": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    return tmp_path


def test_two_processes_train_as_one(two, config, monkeypatch):
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        from one_of_several import plain_descent
    finally:
        sys.path.pop(0)
    monkeypatch.setattr(GroundedTrainer, "create_optimizer", plain_descent)
    alone = train(config, two / "one")
    start, end = (load_file(two / "one" / "checkpoints" / f"checkpoint-{n}" / "model.safetensors") for n in (10, STEPS))
    moved = max(float((end[name] - start[name]).abs().max()) for name in end if name != "memory")
    assert moved > 5e-4
    for name, value in checkpoint(two / "two").items():
        torch.testing.assert_close(value, end[name], rtol=1e-4, atol=1e-5, msg=name)

    def figures(folder):
        return [
            {k: v for k, v in line.items() if "runtime" not in k and "per_second" not in k} for line in lines(folder)
        ]

    ours, theirs = figures(two / "one"), figures(two / "two")
    assert [sorted(line) for line in ours] == [sorted(line) for line in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)

    # resumed from step 10: the same bits
    again, whole = checkpoint(two / "resumed"), checkpoint(two / "two")
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    assert (two / "resumed" / "model" / "model.safetensors").read_bytes() == (
        two / "two" / "model" / "model.safetensors"
    ).read_bytes()

    # the first process evaluates, both know the figures
    seen = [json.loads((two / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert [one["evaluated"] for one in seen] == [2, 0]
    assert seen[0]["figures"] == seen[1]["figures"]
    assert seen[0]["step"] == seen[1]["step"] == alone.step
    for one in seen:
        assert one["refused"] == (
            "the batch of a step has 3 pictures, which 2 processes with gradient_accumulation_steps=1 cannot share "
            "evenly: set the sources' pictures to a multiple of 2"
        )
    assert not (two / "uneven").exists()
