"""Sentences about labels, as people type them."""

import numpy as np
import pytest

from mmgrad_explain.data.edits.nouns import split_words
from mmgrad_explain.training.sources.photo_options import PHOTO_EDITS
from mmgrad_explain.training.sources.photo_pairs import PAIR_EDITS
from mmgrad_explain.training.sources.photo_texts import FREE, PhotoTexts

NAMES = ["null", "coat", "boots", "pants", "bag"]
DETAILS = {"recolour": "gray", "pattern": "stripes"}


@pytest.fixture
def texts():
    return PhotoTexts(NAMES, {"pants": ("trousers",), "bag": ("coat", "handbag")}, 0.7)


def sentences(texts, count=300, **changes):
    rng = np.random.default_rng(0)
    for kind in PHOTO_EDITS:
        for _ in range(count):
            label = int(rng.integers(1, 5))
            yield texts.edit(rng, kind, label, DETAILS.get(kind), **changes)
    for kind in PAIR_EDITS:
        for _ in range(count):
            gone, come = (None if kind == "add" else 1), (None if kind == "remove" else 2)
            yield texts.pair(rng, kind, gone, 1 if kind == "recolour" else come, "orange", own="red")


def test_the_vocabulary_holds_every_word_and_no_other(texts):
    said = {word for text in sentences(texts, own="blue") for word in split_words(text)}
    said |= {word for text in sentences(texts, side="left") for word in split_words(text)}
    said |= {word for text in sentences(texts, side="right") for word in split_words(text)}
    rng = np.random.default_rng(0)
    said |= {word for _ in range(40) for word in split_words(texts.join(rng, "", ""))}
    kinds = [*PHOTO_EDITS, *PAIR_EDITS]
    known = set(texts.vocabulary([1, 2, 3, 4], kinds, sides=True))
    assert said <= known
    colours = {"yellow", "green", "purple", "violet", "pink", "brown", "black", "white"}
    assert known - said - colours <= {"dotted", "spotted", "dots", "polka", "checks", "squares", "checked", "checkered"}
    assert not {"place", "swap"} & set(PhotoTexts(NAMES, {}, 0.0).vocabulary([1], ["remove", "add"], sides=False))
    assert {"place", "swap"} <= set(PhotoTexts(NAMES, {}, 0.0).vocabulary([1], ["replace"], sides=False))
    fewer = set(texts.vocabulary([1], ["darken"], sides=False))
    assert not {"boots", "left", "red", "remove"} & fewer


def test_forms(texts):
    said = list(sentences(texts, own="blue"))
    assert any("the blue coat" in text for text in said)
    assert any("boot " in f"{text} " for text in said)
    assert any("trousers" in text for text in said)
    assert any(text.startswith("no ") for text in said)
    assert any("orange boots instead of the coat" in text for text in said)
    assert not any("{" in text or "  " in text or " a a" in text or "a orange" in text for text in said)
    assert any("the left person's coat" in text for text in sentences(texts, side="left"))


def test_a_word_that_names_another_thing_in_the_image_is_not_used(texts):
    rng = np.random.default_rng(0)
    assert any("coat" in texts.edit(rng, "darken", 4, None) for _ in range(60))
    assert not any("coat" in texts.edit(rng, "darken", 4, None, [1, 4]) for _ in range(60))


def test_plain_sentences_only():
    texts = PhotoTexts(NAMES, {}, 0.0)
    rng = np.random.default_rng(0)
    said = {texts.edit(rng, "darken", 1, None, own="red") for _ in range(80)}
    assert not any("red" in text or "bit" in text or "coats" in text for text in said)
    assert set(FREE) == {*PHOTO_EDITS, *PAIR_EDITS} - {"gray"}
