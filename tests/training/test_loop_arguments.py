"""Options of transformers beside a config: each has its effect, or is refused."""

import pytest
import torch
from transformers import TrainingArguments
from transformers.optimization import get_scheduler

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.loop_arguments import check_arguments, training_arguments
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions
from mmgrad_explain.training.trainer import GroundedTrainer, learning_rate

SOURCE = SceneSource(32, SceneSourceOptions(pictures=2, edits=2), labels=True)


@pytest.fixture
def trainer(tiny_config, tiny_processor, micro, tmp_path):
    def make(changes=None, **config):
        composer = ReferenceComposer(build_network(tiny_config), tiny_processor)
        config = micro(**config)
        arguments = training_arguments(config, tmp_path, **(changes or {}))
        return GroundedTrainer(composer, config, SOURCE, SOURCE, arguments)

    return make


def rates(trainer, steps=8):
    trainer.create_optimizer_and_scheduler(steps)
    found = []
    for _ in range(steps):
        found.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    return found


@pytest.mark.parametrize("kind", ["constant", "constant_with_warmup", "linear", "cosine", "polynomial"])
def test_another_schedule_of_the_rate_is_used(trainer, kind):
    made = trainer({"lr_scheduler_type": kind}, steps=8, optimizer={"warmup": 3, "lr": 0.5})
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = get_scheduler(kind, other, num_warmup_steps=3, num_training_steps=8)
    expected = []
    for _ in range(8):
        expected.append(other.param_groups[0]["lr"])
        other.step()
        schedule.step()
    assert rates(made) == pytest.approx(expected)


def test_the_schedule_of_the_config(trainer):
    made = trainer(steps=8, optimizer={"warmup": 3, "lr": 0.5, "final": 0.1})
    assert rates(made) == pytest.approx([0.5 * learning_rate(step, 8, 3, 0.1) for step in range(8)])
    with pytest.raises(
        InputError, match=r"optimizer.final=0.1 is where optimizer.schedule ends; lr_scheduler_type='linear'"
    ):
        trainer({"lr_scheduler_type": "linear"}, optimizer={"final": 0.1})


def test_the_rate_starts_anew_where_parts_are_frozen(trainer):
    dense = {"weight": 1.0, "first": 0.4, "freeze": ["network.neck"]}
    made = trainer(steps=8, optimizer={"warmup": 2, "lr": 1.0}, dense=dense)
    assert rates(made) == pytest.approx([learning_rate(step, n, 2) for n in (4, 4) for step in range(n)])
    made = trainer(steps=8, optimizer={"warmup": 2, "lr": 1.0}, dense={**dense, "freeze": []})
    assert rates(made) == pytest.approx([learning_rate(step, 8, 2) for step in range(8)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0.3}, r"learning_rate=0.3 has no effect: the config decides, by optimizer.lr"),
        ({"weight_decay": 0.3}, r"weight_decay=0.3 .* by optimizer.weight_decay"),
        ({"adam_beta2": 0.5}, r"adam_beta2=0.5 .* by optimizer.betas"),
        ({"warmup_steps": 7}, r"warmup_steps=7.* by optimizer.warmup"),
        ({"seed": 7}, r"seed=7 .* by seed"),
        ({"per_device_train_batch_size": 4}, r"by pictures and edits of the sources"),
        ({"bf16": True}, r"bf16=True .* by precision"),
        ({"gradient_checkpointing": True}, r"by model.gradient_checkpointing"),
        ({"optim": "sgd"}, r"optim=.*has no effect on this training: leave it out"),
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0.1 has no effect on this training"),
        ({"neftune_noise_alpha": 5.0}, r"neftune_noise_alpha=5.0 has no effect"),
        ({"load_best_model_at_end": True, "metric_for_best_model": "r1"}, r"by evaluation.best"),
        ({"metric_for_best_model": "loss"}, r"metric_for_best_model: there is no figure 'loss': .*use r1"),
    ],
)
def test_options_that_would_be_ignored_are_refused(micro, tmp_path, monkeypatch, changes, said):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # transformers sets it, for good, where bf16 is asked for
    config = micro()
    with pytest.raises(InputError, match=said):
        check_arguments(training_arguments(config, tmp_path, **changes), config)


def test_options_with_their_defaults_are_accepted(micro, tmp_path):
    config = micro(evaluation={"best": "dead"})
    check_arguments(TrainingArguments(str(tmp_path), max_steps=3, use_cpu=True), config)
    made = training_arguments(config, tmp_path, gradient_accumulation_steps=3, logging_first_step=True)
    check_arguments(made, config)
    assert (made.metric_for_best_model, made.greater_is_better) == ("eval_dead", False)
    with pytest.raises(InputError, match=r"metric_for_best_model='eval_r1' .* by evaluation.best"):
        check_arguments(training_arguments(config, tmp_path, metric_for_best_model="eval_r1"), config)


def test_the_best_may_be_of_a_measured_benchmark(micro, tmp_path):
    shoes = {"kind": "cir", "set": "shoes", "masks": "segments"}
    config = micro(sources={"shoes": shoes}, evaluation={"benchmarks": ["shoes.eval"]})
    check_arguments(training_arguments(config, tmp_path, metric_for_best_model="eval_shoes.eval.r1"), config)
    with pytest.raises(InputError, match=r"metric_for_best_model: there is no figure 'cirr\.val\.r1'"):
        check_arguments(training_arguments(config, tmp_path, metric_for_best_model="eval_cirr.val.r1"), config)


def test_processes_that_would_each_train_alone_are_refused(micro, tmp_path, monkeypatch):
    config = micro()
    made = training_arguments(config, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        InputError, match=r"torchrun started 2 processes, and on this device each would train by itself"
    ):
        check_arguments(made, config)


def test_stopping_early_goes_by_the_figure_of_the_config(trainer, monkeypatch):
    """It stops at the second evaluation that is no better than the best."""
    from transformers import EarlyStoppingCallback

    from mmgrad_explain.training import trainer as module

    values = iter([0.5, 0.4, 0.4, 0.6, 0.1])
    monkeypatch.setattr(module, "evaluate_batches", lambda *_: {"dead": next(values), "r1": 0.0})
    made = trainer(steps=10, save_every=20, evaluation={"every": 1, "best": "dead", "maps": 0})
    made.add_callback(EarlyStoppingCallback(2))
    made.train()
    assert made.state.global_step == 4
    assert made.state.best_metric == 0.4


def test_an_unknown_best_figure_is_refused(trainer, monkeypatch):
    from mmgrad_explain.training import trainer as module

    monkeypatch.setattr(module, "evaluate_batches", lambda *_: {"r1": 0.5, "sibling_r1": 0.5})
    made = trainer(evaluation={"best": "contrast", "maps": 0})
    with pytest.raises(
        InputError, match=r"evaluation.best: 'contrast' cannot be measured on the held-out data; there "
    ):
        made.evaluate()


def test_a_rate_of_a_missing_backbone_is_refused(trainer):
    with pytest.raises(InputError, match=r"optimizer.backbone_lr: ReferenceComposer names no part .* set it to 1"):
        trainer(optimizer={"backbone_lr": 0.1})
