"""The trainer: learning rates of the parts and of the steps."""

from dataclasses import replace

import pytest

from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.training.loop_arguments import training_arguments
from mmgrad_explain.training.sources.kinds import build_source
from mmgrad_explain.training.trainer import GroundedTrainer, learning_rate


def test_pretrained_parts_have_their_own_rate(micro, clip_folder, tmp_path):
    config = replace(micro(optimizer={"lr": 1e-2, "backbone_lr": 0.1, "weight_decay": 0.5}), steps=2)
    composer = ClipComposer.from_clip(clip_folder, width=16)
    source = build_source(config.sources, 32)
    trainer = GroundedTrainer(composer, config, source, source, training_arguments(config, tmp_path))
    objective = trainer.model
    groups = {(g["lr"], g["weight_decay"]): len(g["params"]) for g in trainer.create_optimizer().param_groups}
    assert set(groups) == {(1e-3, 0.5), (1e-3, 0.0), (1e-2, 0.5), (1e-2, 0.0)}
    assert sum(groups.values()) == len(list(objective.parameters()))
    assert trainer.create_optimizer() is trainer.optimizer
    assert trainer.create_scheduler(2) is trainer.create_scheduler(2) is trainer.lr_scheduler
    loss, losses = trainer.compute_loss(objective, trainer.train_dataset[1], return_outputs=True)
    assert loss is losses.total
    other = trainer.evaluate(trainer.eval_dataset, metric_key_prefix="other")
    assert "other_r1" in other
    assert trainer.state.best_metric is None


def test_the_learning_rate():
    rates = [learning_rate(step, 12, 2, 0.1) for step in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates == [*rates[:2], *sorted(rates[2:], reverse=True)]
    assert 0.1 < rates[-1] < 0.15
    assert learning_rate(12, 12, 2, 0.1) == pytest.approx(0.1)
    assert learning_rate(0, 4, 0) == 1.0
