"""Training with fixed seeds, and checkpoints that are found again by the hash of their settings."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmgrad_explain._system.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model trains; ``part`` steps lie between two checkpoints."""

    steps: int
    batch: int
    rate: float = 1e-3
    warm: int = 100
    decay: float = 0.02
    bfloat16: bool = False
    part: int = 250


def settings_hash(settings: Any) -> str:
    """Compute a short hash of anything that JSON can write."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def save(value: Any, path: Path) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, overwrite=True) as stream:
        torch.save(value, stream)


def train(
    model: nn.Module,
    loss_of: Callable[[nn.Module, np.random.Generator, float], Tensor],
    schedule: Schedule,
    path: Path,
    *,
    seed: int,
) -> float:
    """Train in place, or load what was trained before; return the seconds that it took.

    Args:
        model: The model.
        loss_of: Draws a batch with the generator and computes its loss; it is told which share of training is done.
        schedule: Steps and rates.
        path: The checkpoint.
        seed: Of the batches: each step has a generator of its own, so that a resumed run goes on alike.
    """
    if path.exists():
        found = torch.load(path, weights_only=True)
        model.load_state_dict(found["model"])
        model.eval()
        return float(found["seconds"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay, betas=(0.9, 0.98))
    partial = path.with_suffix(".partial")
    start, seconds = 0, 0.0
    if partial.exists():
        found = torch.load(partial, weights_only=True)
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        start, seconds = found["step"], found["seconds"]
    model.train()
    began, seen = time.process_time(), []
    for step in range(start, schedule.steps):
        warm = min(1.0, (step + 1) / max(1, schedule.warm))
        rate = schedule.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / schedule.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed + step)
        with sdpa_kernel(SDPBackend.MATH):  # its backward is faster on few tokens
            with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                loss = loss_of(model, np.random.default_rng([seed, step]), step / schedule.steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen.append(float(loss.detach()))
        if (step + 1) % schedule.part == 0:
            spent = seconds + time.process_time() - began
            sys.stderr.write(f"{path.stem}: step {step + 1}, loss {sum(seen) / len(seen):.3f}, {spent:.0f} s\n")
            seen = []
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save({**state, "step": step + 1, "seconds": spent}, partial)
    seconds += time.process_time() - began
    model.eval()
    save({"model": model.state_dict(), "seconds": seconds}, path)
    partial.unlink(missing_ok=True)
    return seconds
