"""Training runs of a benchmark: each is made once, and kept in a folder of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config_file import dump_config
from mmgrad_explain.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.training.config import TrainingConfig


def train_if_missing(config: TrainingConfig, folder: Path, name: str) -> Path:
    """Return the model folder of a run; train it now, or go on with it, if it is not finished.

    Args:
        config: Its options.
        folder: The run's folder.
        name: What is trained, in words.

    Raises:
        InputError: The folder holds a run with other options.
    """
    model, asked = folder / "model", folder / "benchmark.yaml"
    if asked.exists() and asked.read_text() != dump_config(config):
        raise InputError(f"{folder} holds a run with other options ({asked}): choose another --runs")
    if not (model / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        asked.write_text(dump_config(config))
        print(f"training {name}: {config.steps} steps into {folder}", file=sys.stderr, flush=True)
        train(config, folder, resume=True)
    return model
