"""A training run from a config to a model folder.

A run folder holds ``config.yaml`` (all options), ``versions.json``, ``metrics.jsonl``, ``maps.png`` (maps of a few
held-out samples over time; the arrays in ``maps.npz``), ``tensorboard/``, ``checkpoints/`` to go on from, and at the
end ``model/``, which ``mmgrad-explain overlay --model RUN/model`` takes.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmgrad_explain.composers.model_capabilities import check_trainable
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import PhotoSourceOptions
from mmgrad_explain.training.config_file import config_values
from mmgrad_explain.training.models import image_size_of, save_composer, starting_composer
from mmgrad_explain.training.objective.options import ObjectiveOptions
from mmgrad_explain.training.optional_packages import need, need_wandb
from mmgrad_explain.training.processes import from_first, is_first, wait_for_all
from mmgrad_explain.training.run_folder import (
    BEST,
    CHECKPOINTS,
    EMA_FILE,
    MAPS_ARRAYS,
    MAPS_PICTURE,
    METRICS,
    MODEL,
    TENSORBOARD,
    WANDB_ID,
    check_folder,
    last_checkpoint,
    load_best,
    run_lock,
    write_description,
)
from mmgrad_explain.training.sources.base import Mixture, SceneSource, SceneSourceOptions
from mmgrad_explain.training.sources.photos import PhotoSource
from mmgrad_explain.training.sources.triplets import TripletSource

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import TrainingArguments

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import TrainingConfig
    from mmgrad_explain.training.logging.map_grid import MapGrid
    from mmgrad_explain.training.logging.map_logger import MapLogger
    from mmgrad_explain.training.sources.base import Source
    from mmgrad_explain.training.trainer import GroundedTrainer


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: The run folder.
        model: The model folder in it.
        step: The step whose weights the model has.
        figures: The last figures on held-out data, by name.
    """

    folder: Path
    model: Path
    step: int
    figures: dict[str, float]


def train(config: TrainingConfig, out: Path, *, resume: bool = False) -> TrainingResult:
    """Train a composer as a config says.

    Args:
        config: See :class:`~mmgrad_explain.training.config.TrainingConfig`.
        out: Run folder, made if needed.
        resume: Go on from the folder's last checkpoint; a run without one starts anew. Stopped and resumed, a run gives
            the same weights as in one go. Seed, model and sources must be the same as before; steps, rates and weights
            of losses may be others.

    Raises:
        OutputExistsError: If the folder holds a run and ``resume`` is false, or anything that a run would write over.
        InputError: If an option is wrong, another run is at work in the folder, or its run was made with another seed,
            model or sources.
    """
    with run_lock(out):
        return _train(config, out, resume=resume)


def _train(config: TrainingConfig, out: Path, *, resume: bool) -> TrainingResult:
    need("accelerate", "training")
    if config.wandb:
        need_wandb()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # data workers are forked
    from mmgrad_explain.training.trainer_arguments import training_arguments

    arguments = training_arguments(config, out / CHECKPOINTS)  # joins the processes that torchrun started
    check_folder(config, out, resume=resume)
    wait_for_all()  # before one of them writes into it
    torch.manual_seed(config.seed)
    size = image_size_of(config.model)
    vocabulary = () if size is None else build_source(config, size).vocabulary
    vocabulary = tuple(dict.fromkeys((*vocabulary, *config.model.words)))
    composer = starting_composer(config.model, vocabulary)
    check_trainable(composer)
    size = int(composer.processor.image_size)
    source, held_out = build_source(config, size), build_source(config, size, held_out=True)
    with ExitStack() as stack:
        trainer, start = _trainer(composer, config, source, held_out, arguments, out, stack, resume=resume)
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
        figures = _last_figures(trainer)
    step = from_first(_write_model(trainer, out))
    return TrainingResult(out, out / MODEL, step, figures)


def build_source(config: TrainingConfig, size: int, *, held_out: bool = False) -> Mixture:
    """The sources of a config, for training or, other pictures, for evaluation.

    Args:
        config: See :class:`~mmgrad_explain.training.config.TrainingConfig`.
        size: Side of the pictures, pixels.
        held_out: What is evaluated on.

    Raises:
        InputError: If a folder is missing or not what it should be.
    """
    sources: dict[str, Source] = {}
    for name, options in config.sources.items():
        if isinstance(options, SceneSourceOptions):
            sources[name] = SceneSource(size, options, labels=config.dense.weight > 0)
            continue
        if not options.folder:
            raise InputError(f"sources.{name}.folder is missing: say where it is, --set sources.{name}.folder=FOLDER")
        kind: Any = PhotoSource if isinstance(options, PhotoSourceOptions) else TripletSource
        sources[name] = kind(options.folder, size, options, held_out=held_out)
    weights = [options.weight for options in config.sources.values()]
    return Mixture(sources, weights, "batch" if held_out and len(sources) > 1 else config.mix)


def _trainer(
    composer: Composer,
    config: TrainingConfig,
    source: Mixture,
    held_out: Mixture,
    arguments: TrainingArguments,
    out: Path,
    stack: ExitStack,
    *,
    resume: bool,
) -> tuple[GroundedTrainer, Path | None]:
    """The trainer, and the checkpoint to go on from; ``stack`` takes what must be closed in the end."""
    from mmgrad_explain.training.callbacks import GridFile, MetricsFile, Progress
    from mmgrad_explain.training.objective.objective import GroundedObjective
    from mmgrad_explain.training.trainer import GroundedTrainer

    options = ObjectiveOptions(
        config.grounding, config.dense, config.retrieval, config.precision, config.model.gradient_checkpointing
    )
    objective = GroundedObjective(composer, options, source.label_classes)
    look = resume and is_first()
    start = from_first(last_checkpoint(out / CHECKPOINTS, average=bool(config.ema)) if look else None)
    step = 0 if start is None else int(start.name.rpartition("-")[2])
    callbacks: list[Any] = [MetricsFile(out / METRICS, until=step)] if is_first() else []
    callbacks.append(stack.enter_context(Progress()))
    grid = None
    if config.evaluation.maps:
        grid = _map_grid(held_out, config)
        grid.load(out / MAPS_ARRAYS, until=step)
        callbacks.append(GridFile(grid, out / MAPS_PICTURE, out / MAPS_ARRAYS))
    callbacks.append(stack.enter_context(_map_logger(config, out, grid)))
    trainer = GroundedTrainer(objective, config, source, held_out, arguments, grid=grid, callbacks=callbacks)
    if is_first():
        write_description(config, out)
    if start is not None and trainer.average is not None:
        trainer.average.load(start / EMA_FILE)
    return trainer, start


def _map_grid(held_out: Mixture, config: TrainingConfig) -> MapGrid:
    """The picture of maps for the first held-out samples."""
    from mmgrad_explain.training.logging.map_grid import MapGrid
    from mmgrad_explain.training.trainer import grid_rows

    first = held_out.batch(config.evaluation.seed, 0)
    rows = grid_rows(first.picture.tolist(), config.evaluation.maps)
    on_target = [first.edits[row] == "add" for row in rows]
    pictures = [
        first.targets[row] if there else first.references[first.picture[row]]
        for row, there in zip(rows, on_target, strict=True)
    ]
    masks = [
        (first.target_masks if there else first.reference_masks)[row] if first.supervised[row] else None
        for row, there in zip(rows, on_target, strict=True)
    ]
    return MapGrid(np.stack(pictures), [first.texts[row] for row in rows], masks)


def _map_logger(config: TrainingConfig, out: Path, grid: MapGrid | None) -> MapLogger:
    """What logs the run's figures and the samples of the picture of maps, wherever the config says."""
    from mmgrad_explain.training.logging.boards import WeightsAndBiases
    from mmgrad_explain.training.logging.map_logger import MapLogger

    places: list[Any] = []
    if config.tensorboard and find_spec("tensorboard") is not None:
        places.append(out / TENSORBOARD)
    if config.wandb:
        places.append(WeightsAndBiases(lambda: _wandb_run(config, out)))
    if grid is None:
        return MapLogger(*places)
    return MapLogger(
        *places, maps=lambda _model: grid.latest, pictures=list(grid.pictures), captions=grid.captions, masks=grid.masks
    )


def _wandb_run(config: TrainingConfig, out: Path) -> Any:
    """A run of Weights & Biases; that of the folder goes on where there is one."""
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


def _last_figures(trainer: GroundedTrainer) -> dict[str, float]:
    """The figures of the last step; measured now where that step was not evaluated."""
    last = next((line for line in reversed(trainer.state.log_history) if "eval_r1" in line), None)
    if last is None or last["step"] != trainer.state.global_step:
        last = trainer.evaluate()
    return {name.removeprefix("eval_"): value for name, value in last.items() if name.startswith("eval_")}


def _write_model(trainer: GroundedTrainer, out: Path) -> int:
    """Write the best weights, where such are kept, else the last ones; gives their step."""
    if not trainer.is_world_process_zero():
        return int(trainer.state.global_step)
    composer = trainer.model.composer
    best = load_best(out / CHECKPOINTS / BEST, composer) if trainer.config.evaluation.best else None
    with trainer.average.applied() if trainer.average and best is None else nullcontext():
        save_composer(composer, out / MODEL)
    return trainer.state.global_step if best is None else best
