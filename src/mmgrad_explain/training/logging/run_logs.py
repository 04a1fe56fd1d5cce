"""Everything that a run of a config logs: lines of metrics, progress, the drawing of maps, and boards."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mmgrad_explain.training.callbacks import GridFile, MetricsFile, TrainingProgress
from mmgrad_explain.training.config_file import config_values
from mmgrad_explain.training.distributed import is_first
from mmgrad_explain.training.logging.boards import WeightsAndBiases
from mmgrad_explain.training.logging.map_grid import MapGrid
from mmgrad_explain.training.logging.map_logger import MapLogger
from mmgrad_explain.training.run_folder import MAPS_ARRAYS, MAPS_PICTURE, METRICS, TENSORBOARD, WANDB_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import TrainerCallback

    from mmgrad_explain.training.config import TrainingConfig
    from mmgrad_explain.training.sources.source import Source


@dataclass(frozen=True)
class RunLogs:
    """What a run logs.

    Attributes:
        callbacks: Callbacks of the trainer.
        grid: The maps over time, to draw; None if the config draws none.
    """

    callbacks: list[TrainerCallback]
    grid: MapGrid | None


@contextmanager
def open_logs(config: TrainingConfig, out: Path, held_out: Source, step: int) -> Iterator[RunLogs]:
    """Open the logs of a run; all of them are closed after the block.

    Args:
        config: The run's options.
        out: The run folder.
        held_out: Source of the samples whose maps are drawn.
        step: The step that the run is resumed from; logs of later steps are removed. 0 for a new run.
    """
    callbacks = [MetricsFile(out / METRICS, until=step)] if is_first() else []
    grid = None
    if config.evaluation.maps:
        grid = MapGrid.of_batch(held_out.batch(config.evaluation.seed, 0), config.evaluation.maps)
        grid.load(out / MAPS_ARRAYS, until=step)
        callbacks.append(GridFile(grid, out / MAPS_PICTURE, out / MAPS_ARRAYS))
    with TrainingProgress() as progress, _map_logger(config, out, grid) as logger:
        yield RunLogs([*callbacks, progress, logger], grid)


def _map_logger(config: TrainingConfig, out: Path, grid: MapGrid | None) -> MapLogger:
    """Build the logger of the run's figures and maps to the boards of the config."""
    places: list[Any] = []
    if config.tensorboard and find_spec("tensorboard") is not None:
        places.append(out / TENSORBOARD)
    if config.wandb:
        places.append(WeightsAndBiases(lambda: _start_wandb(config, out)))
    if grid is None:
        return MapLogger(*places)
    return MapLogger(
        *places, maps=lambda _model: grid.latest, images=list(grid.images), captions=grid.captions, masks=grid.masks
    )


def _start_wandb(config: TrainingConfig, out: Path) -> Any:
    """Start a run of Weights & Biases, or resume that of the run folder."""
    import wandb

    kept = out / WANDB_ID
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "mmgrad-explain"),
        name=out.name,
        dir=str(out),
        config=config_values(config),
        id=kept.read_text(encoding="utf-8").strip() if kept.exists() else None,
        resume="allow",
    )
    kept.write_text(f"{run.id}\n", encoding="utf-8")
    return run
