"""The trainer: learning rates of the parts and of the steps."""

from dataclasses import replace

import pytest

from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.loop_arguments import training_arguments
from mmgrad_explain.training.models import starting_composer
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
    assert [learning_rate(step, 12, 2, 0.5, "linear") for step in (0, 2, 7, 12)] == pytest.approx([0.5, 1, 0.75, 0.5])
    assert [learning_rate(step, 12, 2, 0.0, "constant") for step in (0, 2, 12)] == [0.5, 1, 1]
    assert learning_rate(0, 4, 0) == 1.0


def test_parts_learned_from_labels_are_frozen_afterwards(micro, small_sizes, photo_folder, tmp_path):
    photos = {"folder": str(photo_folder), "pictures": 2, "edits": 2, "holdout": 0.3, "pairs": 1, "least": 1}
    config = micro(
        model={"sizes": {**small_sizes, "parts": "auto"}}, sources={"photos": photos}, retrieval={"direction": 1.0},
        dense={"weight": 1.0, "first": 0.5, "freeze": ["network.visual", "network.named"]},
    )  # fmt: skip
    source = build_source(config.sources, 32)
    composer = starting_composer(config.model, source.vocabulary, source.label_classes)
    assert composer.network.config.parts == 5
    trainer = GroundedTrainer(composer, config, source, source, training_arguments(config, tmp_path))
    first = trainer.compute_loss(trainer.model, trainer.train_dataset[0], return_outputs=True)[1]
    assert set(first.figures) == {"dense"}
    assert composer.network.visual.conv1[0].weight.requires_grad
    trainer.state.global_step = 2
    losses = trainer.compute_loss(trainer.model, trainer.train_dataset[2], return_outputs=True)[1]
    losses.total.backward()
    assert {"retrieval", "direction"} <= set(losses.figures)
    assert "dense" not in losses.figures
    assert all(one.grad is None for part in trainer._to_freeze for one in part.parameters())
    assert composer.network.shift.parts.gates.weight.grad.abs().sum() > 0


def test_a_part_to_freeze_that_is_not_there_is_named(micro, tmp_path):
    config = micro(dense={"weight": 1.0, "first": 0.5, "freeze": ["network.visula"]})
    source = build_source(config.sources, 32, labels=True)
    composer = starting_composer(config.model, source.vocabulary, source.label_classes)
    with pytest.raises(InputError, match=r"dense\.freeze: the model has no part 'network\.visula'"):
        GroundedTrainer(composer, config, source, source, training_arguments(config, tmp_path))
