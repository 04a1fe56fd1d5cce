"""Options of a run: refused values, and the documentation."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import TrainingConfig
from mmgrad_explain.training.config_file import config_from, load_config
from mmgrad_explain.training.objective.options import ObjectiveOptions
from mmgrad_explain.training.sources.kinds import SOURCES

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": {"path": "reference", "words": ["red"]}}, "model.words and model.part_words are for a new network"),
        ({"model": {"combiner_width": 64}}, "model.combiner_width and model.fit are for a new combiner on CLIP"),
        ({"model": {"fit": "crop"}}, "model.combiner_width and model.fit are for a new combiner on CLIP"),
        (
            {"mix": "batch", "sources": {"scenes": {"weight": 2}, "mine": {"kind": "triplets", "folder": "x"}}},
            "sources: weights are for mix: step",
        ),
        (
            {"grounding": {"context": 0.3}, "sources": {"triplets": {"folder": "x"}}},
            "grounding.context: none of the sources knows the other objects in a text",
        ),
        ({"grounding": {"selfeq": 1.0}}, "grounding.selfeq: none of the sources has paraphrases of its texts"),
        ({"retrieval": {"across": 1.0}}, "retrieval.across: none of the sources knows what its images show"),
        ({"retrieval": {"facts": 1.0}}, "retrieval.facts: none of the sources knows what its images show"),
        ({"evaluation": {"best": "search"}}, "evaluation.best: none of the sources knows what its images show"),
        ({"model": {"cache": "x"}}, "model.cache: sources.scenes draws its images anew in every batch"),
        (
            {
                "model": {"cache": "x", "path": "y"},
                "sources": {"triplets": {"folder": "x"}},
                "grounding": {"method": "relevancy"},
            },
            "model.cache: maps by relevancy are made of the encoder's attention, which is not kept: set grounding.meth",
        ),
    ],
)
def test_options_without_effect_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        config_from(values)


def test_a_folder_of_triplets_may_have_kinds_of_edits_of_its_own():
    config = load_config("clip", ["sources.triplets.folder=x", "grounding.target_side.repaint=0.5"])
    assert config.grounding.target_side["repaint"] == 0.5


def keys(cls, prefix=""):
    for each in fields(cls):
        name = prefix + each.name
        if name == "sources":
            for kind, options in SOURCES.items():
                yield from keys(options, f"sources.{kind}.")
            continue
        default = each.default_factory() if callable(each.default_factory) else each.default
        if is_dataclass(default):
            yield from keys(type(default), f"{name}.")
        else:
            yield name, default


def test_every_key_is_documented_with_its_default():
    rows = {}
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            rows[cells[0].strip("`")] = cells[1].strip("`")
    wanted = {name: str(list(value) if isinstance(value, tuple) else value) for name, value in keys(TrainingConfig)}
    shown = {"None": "null", "True": "true", "False": "false"}
    wanted = {name: shown.get(value, value) for name, value in wanted.items()}
    assert rows.keys() == wanted.keys()
    assert rows == wanted


def test_the_options_of_the_loss_are_those_of_the_config():
    config = load_config("clip", ["sources.triplets.folder=x", "model.gradient_checkpointing=true"])
    assert config.objective == ObjectiveOptions(
        config.grounding, config.dense, config.retrieval, config.precision, gradient_checkpointing=True
    )
