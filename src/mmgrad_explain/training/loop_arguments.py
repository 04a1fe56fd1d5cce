"""Make the ``TrainingArguments`` of transformers from a config, and check the options that a caller adds."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.training.benchmarks import benchmark_of
from mmgrad_explain.training.figures import EVALUATION_PREFIX, HELD_OUT, LOWER_IS_BETTER, is_held_out_figure

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.training.config import TrainingConfig

COSINE = "cosine_with_min_lr"
"""The schedule of the config by transformers' name: linear warm-up, then ``optimizer.schedule``."""

CONFIG_KEYS = {
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "adam_beta1": "optimizer.betas",
    "adam_beta2": "optimizer.betas",
    "warmup_steps": "optimizer.warmup",
    "warmup_ratio": "optimizer.warmup",
    "seed": "seed",
    "data_seed": "seed",
    "per_device_train_batch_size": "pictures and edits of the sources",
    "per_device_eval_batch_size": "pictures and edits of the sources",
    "num_train_epochs": "steps",
    "bf16": "precision",
    "fp16": "precision",
    "gradient_checkpointing": "model.gradient_checkpointing",
    "activation_checkpointing": "model.gradient_checkpointing",
    "load_best_model_at_end": "evaluation.best",
}
"""Options of transformers that a config decides, with its keys."""

_EFFECTIVE = """
output_dir max_steps max_grad_norm lr_scheduler_type lr_scheduler_kwargs gradient_accumulation_steps tf32
torch_empty_cache_steps logging_strategy logging_steps logging_first_step logging_nan_inf_filter logging_dir
log_on_each_node log_level log_level_replica disable_tqdm report_to run_name project trackio_space_id
trackio_bucket_id trackio_static_space_id eval_strategy eval_steps eval_delay eval_on_start
metric_for_best_model greater_is_better save_strategy save_steps save_total_limit save_only_model
save_on_each_node enable_jit_checkpoint overwrite_output_dir ignore_data_skip
restore_callback_states_from_checkpoint full_determinism use_cpu no_cuda dataloader_num_workers
ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout
local_rank debug skip_memory_metrics do_train do_eval do_predict resume_from_checkpoint
"""

EFFECTIVE = frozenset(_EFFECTIVE.split())
"""Options of transformers that keep their effect here, with every config."""


def training_arguments(config: TrainingConfig, folder: Path, **changes: Any) -> TrainingArguments:
    """Make the options of transformers' loop from a config.

    If ``torchrun`` started several processes, they join here.

    Args:
        config: See :class:`~mmgrad_explain.training.config.TrainingConfig`.
        folder: Folder for the checkpoints.
        **changes: Options of ``TrainingArguments`` that a config does not have, such as
            ``gradient_accumulation_steps``, or ``lr_scheduler_type`` for another schedule of the learning rate.
    """
    values = _options_of(config)
    if "lr_scheduler_type" in changes:
        del values["lr_scheduler_kwargs"]
    return TrainingArguments(**{"output_dir": str(folder), **values, **changes})


def _options_of(config: TrainingConfig) -> dict[str, Any]:
    """Return the options of transformers that a config decides."""
    best = config.evaluation.best
    return {
        "max_steps": config.steps,
        "per_device_train_batch_size": 1,
        "learning_rate": config.optimizer.lr,
        "lr_scheduler_type": COSINE,
        "lr_scheduler_kwargs": {"min_lr_rate": config.optimizer.final},
        "weight_decay": config.optimizer.weight_decay,
        "adam_beta1": config.optimizer.betas[0],
        "adam_beta2": config.optimizer.betas[1],
        "warmup_steps": config.optimizer.warmup,
        "max_grad_norm": config.optimizer.clip,
        "gradient_accumulation_steps": config.accumulate,
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,  # a loss that is NaN is logged as such, not as 0
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": config.keep,
        "eval_strategy": "steps" if config.evaluation.every else "no",
        "eval_steps": config.evaluation.every or None,
        **best_figure_options(best),
        "dataloader_num_workers": config.workers,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": config.device == "cpu" or not torch.accelerator.is_available(),
        "seed": config.seed,
    }


def best_figure_options(best: str | None) -> dict[str, Any]:
    """Return transformers' names for the figure that decides which weights are the best."""
    return {
        "metric_for_best_model": None if best is None else f"{EVALUATION_PREFIX}{best}",
        "greater_is_better": None if best is None else best not in LOWER_IS_BETTER,
    }


def check_arguments(args: TrainingArguments, config: TrainingConfig) -> None:
    """Refuse options of ``TrainingArguments`` that would have no effect.

    Options in :data:`EFFECTIVE` may have any value; all others must have transformers' default, or the config's value.

    Raises:
        InputError: If an option would be ignored or contradicts the config, or the processes that ``torchrun`` started
            do not train together.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > args.world_size:
        raise InputError(
            f"torchrun started {started} processes, and on this device each would train by itself: set device: cpu, or "
            "start one process"
        )
    plain = TrainingArguments(output_dir=args.output_dir, use_cpu=args.use_cpu)
    configured = _options_of(config)
    for option in fields(args):
        name, value = option.name, getattr(args, option.name)
        if not option.init or name in EFFECTIVE or value in (getattr(plain, name), configured.get(name)):
            continue
        if name in CONFIG_KEYS:
            raise InputError(f"{name}={value!r} has no effect: the config decides, by {CONFIG_KEYS[name]}")
        raise InputError(f"{name}={value!r} has no effect on this training: leave it out")
    _check_schedule(args, config)
    _check_best(args, config)


def _check_schedule(args: TrainingArguments, config: TrainingConfig) -> None:
    if config.optimizer.final and args.lr_scheduler_type != COSINE:
        raise InputError(
            f"optimizer.final={config.optimizer.final:g} is where optimizer.schedule ends; lr_scheduler_type="
            f"{str(args.lr_scheduler_type.value)!r} does not read it: set it to 0, or use {COSINE!r}"
        )


def _check_best(args: TrainingArguments, config: TrainingConfig) -> None:
    best, metric = config.evaluation.best, args.metric_for_best_model
    if metric is None:
        return
    name = metric.removeprefix(EVALUATION_PREFIX)
    if not is_held_out_figure(name) and benchmark_of(name) not in config.evaluation.measured_benchmarks:
        hint = did_you_mean(name, HELD_OUT)
        raise InputError(f"metric_for_best_model: there is no figure {name!r}: {hint}use {', '.join(HELD_OUT)}")
    if best is not None and name != best:
        raise InputError(f"metric_for_best_model={metric!r} has no effect: the config decides, by evaluation.best")
