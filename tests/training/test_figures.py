"""Names of figures: each in one list, and logged in one group."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.data.batches.facts import Facts
from mmgrad_explain.grounding import DEFAULT_WEIGHTS, FORMS
from mmgrad_explain.training.figures import (
    BY_EDIT,
    GROUPS,
    HELD_OUT,
    LOWER_IS_BETTER,
    STEP_GROUNDING,
    STEP_RETRIEVAL,
    add_group,
    add_group_to_logged_name,
    is_held_out_figure,
)
from mmgrad_explain.training.held_out_figures import evaluate_batches
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import (
    DenseOptions,
    GroundingOptions,
    ObjectiveOptions,
    RetrievalOptions,
)
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = SceneSource(32, SceneSourceOptions(pictures=3, edits=3), labels=True)


def batch_with_facts(composer, seed):
    """Three scenes of photographs 0, 1 and 2: the last two show what every text asks for."""
    batch = encode_batch(SOURCE.batch(seed, 0), composer.processor)
    count = len(batch.texts)
    shows = torch.tensor([[0], [1], [1]], dtype=torch.int8)
    asks = torch.ones(count, 1, dtype=torch.int8)
    return replace(batch, facts=Facts(shows, asks, asks, torch.arange(3), batch.picture))


@pytest.fixture
def composer(tiny_config, tiny_processor):
    torch.manual_seed(0)
    return ReferenceComposer(build_network(tiny_config), tiny_processor)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_logged_under_its_own_name(form, composer):
    grounding = GroundingOptions(
        form=form, pooling=1, context=1, **{name: 1 for name in DEFAULT_WEIGHTS if name != "form"}
    )
    options = ObjectiveOptions(grounding, DenseOptions(1.0), RetrievalOptions(4, 1.0, 1.0, 1.0, 1.0), "float32")
    batch = batch_with_facts(composer, 3)
    figures = GroundedObjective(composer, options, SOURCE.label_classes, 1)(batch, np.random.default_rng(0)).figures
    others = {name for name in STEP_GROUNDING if name not in FORMS}
    assert set(figures) == {form, *others, *STEP_RETRIEVAL, "dense"}
    assert add_group_to_logged_name(form) == f"grounding/train/{form}"


def test_the_list_holds_every_figure_on_held_out_data(composer):
    found = evaluate_batches(composer.eval(), [batch_with_facts(composer, 5)])
    assert {name for name in found if not name.startswith(BY_EDIT)} == set(HELD_OUT)
    assert set(LOWER_IS_BETTER) < set(HELD_OUT)
    assert all(is_held_out_figure(name) for name in found)
    assert not is_held_out_figure("loss")


@pytest.mark.parametrize(
    ("name", "own", "logged"),
    [
        ("loss", "train/loss", "train/loss"),
        ("pointing", "grounding/pointing", "train/pointing"),
        ("eval_pointing", "train/eval_pointing", "grounding/pointing"),
        ("eval_pointing_add", "train/eval_pointing_add", "grounding/pointing_add"),
        ("eval_sibling_r1", "train/eval_sibling_r1", "retrieval/sibling_r1"),
        ("eval_runtime", "train/eval_runtime", "eval/runtime"),
        ("eval_cirr.val.r1", "retrieval/eval_cirr.val.r1", "retrieval/cirr.val.r1"),
        ("dead", "grounding/dead", "grounding/train/dead"),
        ("change", "train/change", "retrieval/train/change"),
        ("mine/x", "mine/x", "train/mine/x"),
    ],
)
def test_each_figure_has_its_group(name, own, logged):
    assert add_group(name) == own
    assert add_group_to_logged_name(name) == logged
    assert logged.partition("/")[0] in GROUPS


def test_the_guides_name_every_form_term_and_figure():
    grounding, training = ((DOCS / name).read_text() for name in ("grounding.md", "training.md"))
    for name in (*FORMS, *DEFAULT_WEIGHTS):
        assert name == "form" or f"\n| `{name}`" in grounding, name
    for name in (*FORMS, *HELD_OUT):
        assert f"`{name}`" in training, name
