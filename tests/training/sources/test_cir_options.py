"""Options of composed-retrieval sets, and the texts that are drawn of captions."""

import numpy as np
import pytest

from mmgrad_explain.data.cir.dataset import CirTriplet
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config_file import config_from, config_values
from mmgrad_explain.training.sources.cir import CirSourceOptions
from mmgrad_explain.training.sources.cir_options import draw_text

TWO = CirTriplet("0", "a", ("is red", " ", "Has a belt."), "b", ("b",))


def texts(query, captions):
    return {draw_text(query, captions, np.random.default_rng(seed)) for seed in range(40)}


def test_captions_are_joined_as_in_the_literature():
    both, other = "Is red and Has a belt", "Has a belt and is red"
    assert texts(TWO, "joined") == {(both, other, (0, 1))}
    assert texts(TWO, "orders") == {(both, other, (0, 1)), (other, both, (1, 0))}
    alone = {("is red", "Has a belt.", (0,)), ("Has a belt.", "is red", (1,))}
    assert texts(TWO, "each") == alone
    assert texts(TWO, "forms") == alone | texts(TWO, "orders")
    assert texts(CirTriplet("0", "a", ("is red",), "b"), "forms") == {("is red", "", (0,))}
    given = CirTriplet("0", "a", ("is red",), "b", paraphrases=("make it red", "red please"))
    assert {again for _, again, _ in texts(given, "orders")} == {"make it red", "red please"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"set": "fashion"}, "set must be one of cirr, .*fashioniq"),
        ({"set": "cirr", "captions": "both"}, "captions must be one of joined, orders, forms, each"),
        ({"set": "cirr", "missing": "skip"}, "missing must be one of refuse, leave-out"),
        ({"set": "cirr", "pictures": 0}, "pictures and edits"),
        ({"set": "cirr", "holdout": 1.0}, "holdout must be"),
        ({"set": "cirr", "masks": ("sam",)}, "masks: there is no 'sam'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CirSourceOptions(**options)


def test_what_a_source_knows_follows_set_and_masks():
    known = {
        (name, masks): CirSourceOptions(name, masks=(masks,)).knows_regions
        for name in ("cirr", "jsonl")
        for masks in ("none", "given", "segments", "self")
    }
    assert [key for key, value in known.items() if not value] == [
        ("cirr", "none"),
        ("cirr", "given"),
        ("cirr", "self"),
        ("jsonl", "none"),
        ("jsonl", "self"),
    ]
    assert CirSourceOptions("cirr", masks=("segments", "self")).compares_maps
    assert CirSourceOptions("fashioniq").knows_paraphrases
    assert not CirSourceOptions("cirr").knows_paraphrases


@pytest.mark.parametrize(
    ("masks", "grounding", "message"),
    [
        ("given", {}, r"^grounding\.weight: none of the sources says where maps should be bright: .* or set to 0"),
        ("self", {"pooling": 1.0, "mirror": 1.0}, r"^grounding\.weight, grounding\.pooling: none of the sources"),
        ("self", {"weight": 0.0}, r"^sources\.cirr\.masks: 'self' compares maps .*: give one of grounding\.selfeq, "),
    ],
)
def test_a_loss_that_nothing_can_supervise_is_refused(masks, grounding, message):
    sources = {"cirr": {"kind": "cir", "set": "cirr", "masks": masks}}
    with pytest.raises(InputError, match=message):
        config_from({"sources": sources, "grounding": grounding})
    assert config_from({"sources": sources, "grounding": {"weight": 0.0, "mirror": 1.0}})


def test_the_set_must_be_named_to_be_read():
    with pytest.raises(InputError, match=r"sources\.mine\.set is missing: .* cirr, fashioniq"):
        CirSourceOptions(folder="x").build("mine", 32, labels=False, held_out=False)


def test_a_config_names_one_way_or_several():
    sources = {"fiq": {"kind": "cir", "set": "fashioniq", "masks": "clipseg"}}
    config = config_from({"sources": sources})
    assert config.sources["fiq"].masks == ("clipseg",)
    assert config_from(config_values(config)) == config
