"""The trainer: transformers' loop around the losses of a composer."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.benchmarks import BenchmarkSets
from mmgrad_explain.training.callbacks import AverageWeights
from mmgrad_explain.training.data_workers import prepare_data_worker
from mmgrad_explain.training.distributed import broadcast, mean_of_processes
from mmgrad_explain.training.feature_cache import FeatureCache
from mmgrad_explain.training.figures import LOWER_IS_BETTER
from mmgrad_explain.training.held_out_figures import evaluate_batches, sample_maps, trained_kind
from mmgrad_explain.training.loop_arguments import COSINE, best_figure_options, check_arguments
from mmgrad_explain.training.models import find_parts
from mmgrad_explain.training.moving_average import MovingAverage
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.run_folder import BEST, translate_write_errors
from mmgrad_explain.training.sources.step_data import Division, StepDataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import TrainingArguments

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.config import TrainingConfig
    from mmgrad_explain.training.logging.map_grid import MapGrid
    from mmgrad_explain.training.sources.source import Source


def _only(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


class GroundedTrainer(Trainer):  # type: ignore[misc]
    """A :class:`transformers.Trainer` for retrieval and the grounding of a composer's maps.

    It has all of transformers' Trainer: callbacks, checkpoints, resuming, gradient accumulation, several processes with
    ``torchrun``. The config gives the batch of a step, for any number of processes: each takes a part of its
    references, the losses are those of the whole batch, and the first process evaluates and writes. With
    ``gradient_accumulation_steps`` a batch is split into as many micro-batches: each has the losses of a batch of its
    own, negatives included, and the loss of the step is their mean.

    Attributes:
        config: The run's options.
        kind: The kind of maps that are measured and shown: those that are trained.
        average: The moving average of the weights; None without.
    """

    optimizer: Any
    lr_scheduler: Any
    control: Any

    def __init__(
        self,
        composer: Composer,
        config: TrainingConfig,
        source: Source,
        held_out: Source,
        args: TrainingArguments,
        *,
        grid: MapGrid | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        """Set up the objective and the loop.

        Args:
            composer: The composer to train.
            config: See :class:`~mmgrad_explain.training.config.TrainingConfig`.
            source: Training data.
            held_out: Data for the evaluation.
            args: Options of transformers, from :func:`~mmgrad_explain.training.loop_arguments.training_arguments`.
            grid: Collects the maps of some held-out samples at every evaluation.
            callbacks: Callbacks of transformers.

        Raises:
            InputError: If the composer cannot be trained with the config, an option of ``args`` has no effect or
                contradicts the config, or the sources' images cannot be divided among the processes and micro-batches.
        """
        objective = GroundedObjective(composer, config.objective, source.label_classes, source.facts)
        check_arguments(args, config)
        if config.optimizer.backbone_lr != 1 and not composer.backbone:
            raise InputError(
                f"optimizer.backbone_lr: {type(composer).__name__} names no part that was trained before "
                "(backbone); set it to 1"
            )
        division = Division(args.world_size, args.process_index, args.gradient_accumulation_steps)
        division.check(source, config.seed)
        encoder: Any = composer.processor
        super().__init__(
            model=objective,
            args=args,
            train_dataset=StepDataset(source, encoder, config.seed, args.max_steps, division),
            eval_dataset=StepDataset(held_out, encoder, config.evaluation.seed, config.evaluation.batches),
            data_collator=_only,
        )
        self.args._n_gpu = min(1, self.args.n_gpu)  # noqa: SLF001  (several GPUs need torchrun: replicas cannot be hooked)
        if args.world_size > 1:
            torch.manual_seed(args.seed + args.process_index)  # dropout is not the same in each process
        for kind in (PrinterCallback, ProgressCallback):
            self.remove_callback(kind)
        if config.evaluation.best is not None and args.metric_for_best_model is None:
            for name, value in best_figure_options(config.evaluation.best).items():
                setattr(args, name, value)
        self.config = config
        self.kind = trained_kind(composer, config.grounding)
        self.grid = grid
        self.average = MovingAverage(composer, config.ema) if config.ema else None
        for callback in [*([AverageWeights(self.average)] if self.average else []), *callbacks]:
            self.add_callback(callback)
        self._figures: dict[str, list[Tensor]] = {}
        self._fixed: TripletBatch | None = None
        self._benchmarks = BenchmarkSets(config.benchmarks)
        if config.model.cache is not None:
            methods = objective.passes.methods if config.grounding.supervises_maps else ()
            cache = FeatureCache(
                composer, config.model.cache, config.precision, methods, embeddings=objective.heads is None
            )
            cache.check_model()
            objective.passes.cache = cache
        self._to_freeze = find_parts(composer, config.dense.freeze, "dense.freeze")

    # ----------------------------------------------------------------------------------------------------------- steps

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the steps in order; the dataset, not accelerate, gives each process its part."""
        workers = self.args.dataloader_num_workers
        return DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=workers,
            worker_init_fn=prepare_data_worker,
            prefetch_factor=4 if workers else None,
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002  (transformers' signature)
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Compute the loss of a part of a step, and keep its figures for the log."""
        batch = inputs["batch"].to(self.args.device)
        step = self.state.global_step
        schedule = self.config.grounding.schedule(step, self.args.max_steps)
        rng = np.random.default_rng([self.config.seed, 1, step])
        alone = self.config.dense.is_alone(step, self.args.max_steps)
        if not alone:
            for part in self._to_freeze:
                part.requires_grad_(requires_grad=False)
        losses = model(batch, rng, schedule, dense_only=alone)
        for name, value in losses.figures.items():
            self._figures.setdefault(name, []).append(value)
        return (losses.total, losses) if return_outputs else losses.total

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Build AdamW: without weight decay for vectors, with another learning rate for pretrained parts."""
        if self.optimizer is None:
            options = self.config.optimizer
            objective = self.model if model is None else model
            backbone = tuple(f"composer.{name}." for name in objective.composer.backbone)  # type: ignore[union-attr]
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in objective.named_parameters():
                if parameter.requires_grad:
                    before = bool(backbone) and name.startswith(backbone) and "lora_" not in name
                    groups.setdefault((before, parameter.dim() > 1), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": options.lr * (options.backbone_lr if before else 1.0),
                        "weight_decay": options.weight_decay if matrix else 0.0,
                    }
                    for (before, matrix), parameters in groups.items()
                ],
                lr=options.lr,
                betas=options.betas,
            )
        return self.optimizer  # type: ignore[no-any-return]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Build linear warm-up and the config's decay, or the schedule that ``args.lr_scheduler_type`` names.

        With ``dense.freeze``, the steps before it have a warm-up and a decay of their own.
        """
        options = self.config.optimizer
        own = self.args.lr_scheduler_type == COSINE and self.args.lr_scheduler_kwargs == {"min_lr_rate": options.final}
        if self.lr_scheduler is not None or not own:
            return super().create_scheduler(num_training_steps, optimizer)  # type: ignore[no-any-return]

        alone = self.config.dense.steps_alone(num_training_steps) if self._to_freeze else 0

        def rate(step: int) -> float:
            start, end = (0, alone) if step < alone else (alone, num_training_steps)
            return learning_rate(step - start, end - start, options.warmup, options.final, options.schedule)

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, rate)
        self._created_lr_scheduler = True
        return self.lr_scheduler  # type: ignore[no-any-return]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means over all processes of the steps' figures since the last log."""
        if "loss" in logs and self._figures:
            means = mean_of_processes(torch.stack([torch.stack(values).mean() for values in self._figures.values()]))
            logs = {**logs, **dict(zip(self._figures, means.tolist(), strict=True))}
            self._figures.clear()
        super().log(logs, start_time)

    # ------------------------------------------------------------------------------------------------------ evaluation

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        """Write a checkpoint; if the disk is full, the error says so."""
        with translate_write_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **options)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Measure figures on held-out data, with the moving average if there is one, and keep the best weights.

        The first process measures and writes; all processes return its figures.

        Args:
            eval_dataset: A :class:`~mmgrad_explain.training.sources.step_data.StepDataset`; None takes the trainer's.
            ignore_keys: Not used.
            metric_key_prefix: Prefix of all names.

        Raises:
            InputError: If the data do not allow to measure the figure that decides which weights are the best.
        """
        del ignore_keys
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        figures: dict[str, float] = {}
        if self.is_world_process_zero():
            composer = self.model.composer
            with self.average.apply() if self.average else nullcontext():
                figures = evaluate_batches(composer, self._batches(dataset), self.kind)
                if metric_key_prefix == "eval":
                    with self.model.passes.with_cache():
                        figures |= self._benchmarks.measure(composer)
                    self._keep_best(figures)
                    self._add_maps()
        named = {f"{metric_key_prefix}_{name}": value for name, value in broadcast(figures).items()}
        self.log(dict(named))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named

    def _batches(self, dataset: StepDataset) -> Iterator[TripletBatch]:
        for index in range(len(dataset)):
            yield dataset[index]["batch"].to(self.args.device)

    def _keep_best(self, figures: dict[str, float]) -> None:
        """Save the weights if they are the best so far; transformers records the figure after the evaluation."""
        name = self.config.evaluation.best
        if name is None:
            return
        if name not in figures:
            raise InputError(
                f"evaluation.best: {name!r} cannot be measured on the held-out data; there are {', '.join(figures)}"
            )
        sign = -1 if name in LOWER_IS_BETTER else 1
        if self.state.best_metric is None or sign * figures[name] > sign * self.state.best_metric:
            save_best(
                Path(self.args.output_dir) / BEST, self.model.composer, self.state.global_step, name, figures[name]
            )

    def _add_maps(self) -> None:
        if self.grid is None:
            return
        if self._fixed is None:
            self._fixed = self.eval_dataset[0]["batch"].to(self.args.device)
        rows = torch.tensor(self.grid.rows, device=self.args.device)
        maps, _ = sample_maps(self.model.composer, self._fixed, rows, self.kind)
        self.grid.add(self.state.global_step, maps.numpy())


def learning_rate(step: int, steps: int, warmup: int, final: float = 0.0, schedule: str = "cosine") -> float:
    """Return the learning rate at a step, as a share of the highest."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]
    return final + (1 - final) * left


def save_best(path: Path, composer: torch.nn.Module, step: int, metric: str, value: float) -> None:
    """Write a composer's weights, with the figure that they are the best by; the file is whole or not there."""
    from safetensors.torch import save

    weights = {name: one.detach().cpu().contiguous() for name, one in composer.state_dict().items()}
    note = {"step": str(step), "metric": metric, "value": json.dumps(value)}
    with atomic_file(path, overwrite=True) as stream:
        stream.write(save(weights, note))
