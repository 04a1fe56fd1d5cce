"""Sentences about objects that are told apart by side, size and colour."""

import numpy as np
import pytest

from mmgrad_explain.data.edits.text import Spot
from mmgrad_explain.training.sources.object_edits import OBJECT_EDITS
from mmgrad_explain.training.sources.object_texts import ObjectTexts

NAMES = ["background", "dog", "sheep", "sofa"]
TEXTS = ObjectTexts(NAMES, {"sofa": ("couch",)}, 0.7)
LEFT, RIGHT, SMALL = Spot(0.2, 0.5, 100), Spot(0.8, 0.5, 100), Spot(0.8, 0.5, 20)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def phrases(*spots, colours=(), index=0, label=1):
    rng = np.random.default_rng(1)
    return {TEXTS.phrase(rng, label, spots, index, colours) for _ in range(80)}


def test_two_of_a_kind_are_told_apart_by_side():
    assert phrases(LEFT, RIGHT) == {("the left dog", False), ("the dog on the left", False)}


def test_two_of_a_kind_are_told_apart_by_size():
    assert {"the larger dog"} <= {phrase for phrase, _ in phrases(LEFT, SMALL)}
    assert {"the smaller dog"} <= {phrase for phrase, _ in phrases(LEFT, SMALL, index=1)}


def test_a_colour_of_its_own_tells_it_apart():
    found = {phrase for phrase, _ in phrases(LEFT, RIGHT, colours=("red", "blue"))}
    assert "the red dog" in found
    assert "the red dog" not in {phrase for phrase, _ in phrases(LEFT, RIGHT, colours=("red", "red"))}


def test_what_cannot_be_told_apart_has_no_phrase():
    assert phrases(LEFT, LEFT) == {None}


def test_one_of_its_kind_may_be_named_by_its_side():
    assert {"the dog", "the left dog"} <= {phrase for phrase, _ in phrases(LEFT)}
    assert all("left" in phrase or bare for phrase, bare in phrases(LEFT))


def test_synonyms(rng):
    assert {TEXTS.noun(rng, 3) for _ in range(40)} == {"sofa", "couch"}


@pytest.mark.parametrize("kind", OBJECT_EDITS)
def test_every_word_is_in_the_vocabulary(kind, rng):
    known = set(TEXTS.vocabulary([1, 2, 3], [kind]))
    detail = {"recolour": "purple", "pattern": "checks"}.get(kind)
    for label in (1, 2, 3):
        for phrase, bare in (*phrases(LEFT, label=label), (TEXTS.phrase_for_all(rng, label, 2), False)):
            for _ in range(30):
                text = TEXTS.say(rng, kind, phrase, detail, bare=bare, new=2 if kind == "replace" else None)
                assert set(text.split()) <= known, text
                assert "{" not in text


def test_what_replaces_is_named(rng):
    assert all(
        "a sofa" in text or "a couch" in text
        for text in (TEXTS.say(rng, "replace", "the dog", new=3) for _ in range(30))
    )


def test_a_bigger_bottle(rng):
    texts = {TEXTS.say(rng, "enlarge", "the dog", bare=True) for _ in range(200)}
    assert {"a bigger dog", "make the dog bigger"} <= texts
    assert "a bigger dog" not in {TEXTS.say(rng, "enlarge", "the dog", bare=False) for _ in range(200)}
