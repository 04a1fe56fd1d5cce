"""The batch of a step divided among processes and micro-batches, and the loss of micro-batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.data.batches.batch import encode_batch, take_images
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.loop_arguments import training_arguments
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import GroundingOptions, ObjectiveOptions, RetrievalOptions
from mmgrad_explain.training.sources.mixture import Mixture
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions
from mmgrad_explain.training.sources.step_data import Division, StepDataset
from mmgrad_explain.training.trainer import GroundedTrainer, learning_rate

SOURCE = SceneSource(32, SceneSourceOptions(pictures=4, edits=2), labels=True)
SURE = dict.fromkeys(("recolour", "reshape", "resize", "move", "swap", "remove"), 0.0)
"""No map is drawn by chance."""


@pytest.fixture
def objective(tiny_config, tiny_processor):
    def make(**grounding):
        torch.manual_seed(0)
        composer = ReferenceComposer(build_network(tiny_config), tiny_processor)
        options = ObjectiveOptions(GroundingOptions(**grounding), precision="float32", retrieval=RetrievalOptions(5))
        return GroundedObjective(composer, options)

    return make


def test_all_parts_are_the_batch():
    """Every picture with all of its edits is in one part, as it was."""
    whole = SOURCE.batch(3, 0)
    seen = []
    for rank in (0, 1):
        for micro_batch in (0, 1):
            (picture,) = Division(2, rank, 2).own_references(4, micro_batch)
            part = take_images(whole, np.array([picture]))
            own = np.flatnonzero(whole.picture == picture)
            seen.append(picture)
            assert part.picture.tolist() == [0, 0]
            assert part.texts == [whole.texts[i] for i in own]
            assert part.edits == [whole.edits[i] for i in own]
            np.testing.assert_array_equal(part.references, whole.references[[picture]])
            for name in ("targets", "reference_masks", "target_masks", "supervised", "context_masks"):
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[own])
            for name, labels in whole.target_labels.items():
                np.testing.assert_array_equal(part.target_labels[name], labels[own])
                np.testing.assert_array_equal(part.reference_labels[name], whole.reference_labels[name][[picture]])
            np.testing.assert_array_equal(np.where(part.partner < 0, -1, own[part.partner]), whole.partner[own])
    assert seen == [0, 1, 2, 3]


def test_processes_have_stretches_of_strided_micro_batches():
    assert Division(2, 1, 2).own_references(8, 0).tolist() == [4, 6]
    assert Division(2, 0, 2).own_references(8, 1).tolist() == [1, 3]
    assert Division().own_references(3, 0).tolist() == [0, 1, 2]
    with pytest.raises(
        InputError, match=r"has 6 pictures, which 2 processes with gradient_accumulation_steps=2 cannot"
    ):
        Division(2, 0, 2).own_references(6, 0)


def test_a_batch_that_cannot_be_divided_is_refused_before_training():
    odd = SceneSource(32, SceneSourceOptions(pictures=3, edits=1))
    for source in (odd, Mixture({"even": SOURCE, "odd": odd}, [9, 1])):
        with pytest.raises(InputError, match=r"3 pictures.*set the sources' pictures to a multiple of 2"):
            Division(2).check(source, 0)
        Division().check(source, 0)
    together = SceneSource(32, SceneSourceOptions(pictures=1, edits=1))
    Division(2).check(Mixture({"one": odd, "other": together}, [1, 1], "batch"), 0)  # 4 in all


def test_items_are_parts_of_steps(tiny_processor):
    """Each step's batch once, whatever its micro-batches are taken by; drawn once where they follow one another."""
    drawn = []

    class Counted(SceneSource):
        def batch(self, seed, step):
            drawn.append(step)
            return super().batch(seed, step)

    data = StepDataset(Counted(32, SOURCE.options), tiny_processor, 7, 3, Division(micro_batches=2))
    items = list(DataLoader(data, collate_fn=lambda items: items[0]))
    assert drawn == [0, 1, 2]
    assert [int(item["step"]) for item in items] == [0, 0, 1, 1, 2, 2]
    for step in range(3):
        whole = encode_batch(SOURCE.batch(7, step), tiny_processor).references
        parts = torch.stack([items[2 * step]["batch"].references, items[2 * step + 1]["batch"].references], dim=1)
        torch.testing.assert_close(parts.flatten(0, 1), whole)


def test_the_loss_of_a_step_is_the_mean_of_its_micro_batches(objective, micro, tmp_path, monkeypatch):
    """Four steps of two micro-batches, against the same written out; the loss comes in at step 2, by a ramp."""
    steps, rate = 4, 0.01
    grounding = {"warm_start": 0.5, "ramp": 0.5, "target_side": SURE}
    config = micro(
        steps=steps,
        grounding=grounding,
        retrieval={"memory": 5},
        optimizer={"lr": rate, "warmup": 2},
        evaluation={"every": 0, "maps": 0},
    )
    monkeypatch.setattr(
        GroundedTrainer, "create_optimizer", lambda self, _=None: _descent(self.model, rate, self) or self.optimizer
    )
    arguments = training_arguments(config, tmp_path, gradient_accumulation_steps=2)
    trainer = GroundedTrainer(objective(**grounding).composer, config, SOURCE, SOURCE, arguments)
    trainer.train()
    assert trainer.state.global_step == steps

    made = objective(**grounding).train()
    processor = made.composer.processor
    for step in range(steps):
        whole = SOURCE.batch(config.seed, step)
        made.zero_grad()
        for pictures, triplets in (([0, 2], [0, 1, 4, 5]), ([1, 3], [2, 3, 6, 7])):
            names = ("targets", "reference_masks", "target_masks", "supervised")
            part = replace(
                whole,
                references=whole.references[pictures],
                texts=[whole.texts[i] for i in triplets],
                edits=[whole.edits[i] for i in triplets],
                picture=np.array([0, 0, 1, 1]),
                partner=np.full(4, -1),
                reference_labels={},
                target_labels={},
                context_masks=None,
                **{name: getattr(whole, name)[triplets] for name in names},
            )
            factor = (0.0, 0.0, 0.5, 1.0)[step]
            (made(encode_batch(part, processor), np.random.default_rng(0), factor).total / 2).backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate * learning_rate(step, steps, 2) * parameter.grad)
    start = objective().state_dict()
    trained = trainer.model.state_dict()
    for name, value in made.state_dict().items():
        torch.testing.assert_close(
            trained[name], value, rtol=1e-4, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )
    assert max(float((trained[name] - value).abs().max()) for name, value in start.items() if name in trained) > 2e-3


def _descent(model, rate, trainer):
    if trainer.optimizer is None:
        trainer.optimizer = torch.optim.SGD(model.parameters(), lr=rate)
