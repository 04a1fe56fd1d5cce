"""A training run, from a config to a model folder.

A run folder holds ``config.yaml`` (all options), ``versions.json``, ``metrics.jsonl``, ``maps.png`` (maps of a few
held-out samples over time; their arrays are in ``maps.npz``), ``tensorboard/``, ``checkpoints/`` to resume from, and at
the end ``model/``, which ``mmgrad-explain overlay --model RUN/model`` takes.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.composers.model_capabilities import capabilities, check_trainable
from mmgrad_explain.training.benchmarks import find_benchmarks, write_submissions
from mmgrad_explain.training.distributed import broadcast, is_first, wait_for_all
from mmgrad_explain.training.figures import EVALUATION_PREFIX
from mmgrad_explain.training.models import image_size_of, save_composer, starting_composer
from mmgrad_explain.training.package_checks import require_package, require_wandb
from mmgrad_explain.training.run_folder import (
    BEST,
    CHECKPOINTS,
    EMA_FILE,
    MODEL,
    SUBMISSIONS,
    check_folder,
    load_best,
    recover_last_checkpoint,
    run_lock,
    step_of,
    write_description,
)
from mmgrad_explain.training.sources.kinds import build_source

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import TrainingConfig
    from mmgrad_explain.training.sources.source import Source
    from mmgrad_explain.training.trainer import GroundedTrainer


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run.

    Attributes:
        folder: The run folder.
        model: The model folder in it.
        step: The step that the model's weights are of.
        figures: The last figures on held-out data, by name.
    """

    folder: Path
    model: Path
    step: int
    figures: dict[str, float]


def train(config: TrainingConfig, out: Path, *, resume: bool = False) -> TrainingResult:
    """Train a composer with the options of a config.

    Args:
        config: See :class:`~mmgrad_explain.training.config.TrainingConfig`.
        out: Run folder, made if needed.
        resume: Continue from the folder's last checkpoint; without a checkpoint the run starts anew. A run that is
            stopped and resumed ends with the same weights as an uninterrupted one. Seed, model and sources must be the
            same as before; steps, learning rates and weights of losses may change.

    Raises:
        OutputExistsError: If the folder holds a run and ``resume`` is False, or files that a run would overwrite.
        InputError: If an option is wrong, another run uses the folder, or its run has another seed, model or sources.
    """
    with run_lock(out):
        return _train(config, out, resume=resume)


def _train(config: TrainingConfig, out: Path, *, resume: bool) -> TrainingResult:
    require_package("accelerate", "training")
    if config.wandb:
        require_wandb()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # data workers are forked
    from mmgrad_explain.training.logging.run_logs import open_logs
    from mmgrad_explain.training.loop_arguments import training_arguments
    from mmgrad_explain.training.trainer import GroundedTrainer

    arguments = training_arguments(config, out / CHECKPOINTS)  # joins the processes that torchrun started
    check_folder(config, out, resume=resume)
    wait_for_all()  # before one of them writes into the folder
    torch.manual_seed(config.seed)
    composer, source, held_out = _model_and_data(config)
    start = broadcast(
        recover_last_checkpoint(out / CHECKPOINTS, average=bool(config.ema)) if resume and is_first() else None
    )
    with open_logs(config, out, held_out, step=0 if start is None else step_of(start)) as logs:
        trainer = GroundedTrainer(
            composer, config, source, held_out, arguments, grid=logs.grid, callbacks=logs.callbacks
        )
        if is_first():
            write_description(config, out)
        if start is not None and trainer.average is not None:
            trainer.average.load(start / EMA_FILE)
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
        figures = _last_figures(trainer)
    step = broadcast(_write_model(trainer, out))
    return TrainingResult(out, out / MODEL, step, figures)


def _model_and_data(config: TrainingConfig) -> tuple[Composer, Source, Source]:
    """Build the composer, its training data and its held-out data.

    A new network gets its vocabulary from the sources; a model that exists gives the sources its image size.
    """
    labels = config.dense.weight > 0
    size = image_size_of(config.model)
    source = None if size is None else build_source(config.sources, size, mix=config.mix, labels=labels)
    known = ((), {}) if source is None else (source.vocabulary, source.label_classes)
    composer = starting_composer(config.model, *known)
    check_trainable(composer)
    size, fit_image = int(composer.processor.image_size), capabilities(composer).fit_image
    build = partial(build_source, config.sources, size, mix=config.mix, labels=labels, fit_image=fit_image)
    return composer, build() if source is None else source, build(held_out=True)


def _last_figures(trainer: GroundedTrainer) -> dict[str, float]:
    """Return the figures of the last step, measured now if that step was not evaluated."""
    last = next((line for line in reversed(trainer.state.log_history) if "eval_r1" in line), None)
    if last is None or last["step"] != trainer.state.global_step:
        last = trainer.evaluate()
    prefix = EVALUATION_PREFIX
    return {name.removeprefix(prefix): value for name, value in last.items() if name.startswith(prefix)}


def _write_model(trainer: GroundedTrainer, out: Path) -> int:
    """Save the best weights if they are kept, else the last ones; return their step."""
    if not trainer.is_world_process_zero():
        return int(trainer.state.global_step)
    composer = trainer.model.composer
    if trainer.config.grounding.supervises_maps:
        composer.default_method = trainer.kind.method
    best = load_best(out / CHECKPOINTS / BEST, composer) if trainer.config.evaluation.best else None
    with trainer.average.apply() if trainer.average and best is None else nullcontext():
        save_composer(composer, out / MODEL)
        tests = find_benchmarks(trainer.config.sources, trainer.config.evaluation.submissions)
        write_submissions(composer, tests, out / SUBMISSIONS)
    return trainer.state.global_step if best is None else best
