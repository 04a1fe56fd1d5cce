"""Sentences and phrases for edits: well formed, within the vocabulary, and about one object only."""

import numpy as np
import pytest

from mmgrad_explain.data.edits.colours import COLOURS
from mmgrad_explain.data.edits.nouns import make_noun
from mmgrad_explain.data.edits.operations import PATTERNS
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.data.edits.templates import SIDES
from mmgrad_explain.data.edits.text import Spot, edit_sentence, edit_vocabulary, find_phrase, find_phrase_for_all
from mmgrad_explain.errors import InputError

DETAILS = {"recolour": tuple(COLOURS), "pattern": PATTERNS, "swap": ("the coat",), "add": (None, "on the left")}


PHRASES = ("the dress", "the shoes", "the dog on the left", "the leftmost dog", "all the airplanes", "both t-shirts")


def many(kind, phrase, detail=None, count=300, **options):
    rng = np.random.default_rng(0)
    return {edit_sentence(rng, kind, phrase, detail, **options) for _ in range(count)}


@pytest.mark.parametrize("kind", EDIT_KINDS)
@pytest.mark.parametrize("phrase", PHRASES)
def test_sentences_are_clean_and_within_the_vocabulary(kind, phrase):
    vocabulary = set(edit_vocabulary(["dress", "shoes", "dog", "airplane", "coat", "t-shirt"]))
    for detail in DETAILS.get(kind, (None,)):
        for text in many(kind, phrase, detail, 100):
            assert text == " ".join(text.lower().split())
            assert "{" not in text
            assert set(text.replace("-", " ").split()) <= vocabulary
            noun = phrase.split()[1] if phrase.split()[0] == "the" and "left" not in phrase else phrase.split()[-1]
            assert "left" in noun or noun in text or "dog" in text


def test_the_tokenizer_of_the_vocabulary_knows_every_word():
    from mmgrad_explain.composers.reference.tokenizer import UNKNOWN, build_tokenizer

    tokenizer = build_tokenizer(edit_vocabulary(["T-Shirt", "wall-brick", "sky-other-merged"]))
    rng = np.random.default_rng(0)
    for _ in range(300):
        phrase = f"the {make_noun(['T-Shirt', 'wall-brick', 'sky-other-merged'][int(rng.random() * 3)])}"
        kind = EDIT_KINDS[int(rng.random() * len(EDIT_KINDS))]
        detail = {"recolour": "gray", "pattern": "polka dots", "swap": "the brick wall"}.get(kind)
        assert UNKNOWN not in tokenizer.encode(edit_sentence(rng, kind, phrase, detail)).tokens


def test_usual_forms_occur():
    assert many("recolour", "the dress", "red") >= {"make the dress red", "change the dress to red", "a red dress"}
    assert many("recolour", "the dress", "orange") >= {"an orange dress", "the dress in orange"}
    assert many("darken", "the coat") >= {"darken the coat", "make the coat darker"}
    assert many("pattern", "the bag", "stripes") >= {"a striped bag", "add stripes to the bag", "a bag with stripes"}
    assert many("gray", "the bag") >= {"remove the colour from the bag", "make the bag gray"}
    assert many("blur", "the shirt") >= {"make the shirt blurry"}
    assert many("remove", "the dog") >= {"remove the dog", "there should be no dog"}
    assert many("add", "the dog") >= {"there should be a dog", "add a dog"}
    assert many("add", "the dog", "on the left") >= {"add a dog on the left"}
    assert many("add", "the dog on the left") >= {"add another dog"}
    assert many("add", "all the dogs") >= {"add more dogs"}
    assert many("swap", "the dress", "the coat") >= {"make the dress look like the coat"}


def test_number_and_articles_agree():
    shoes = many("recolour", "the shoes", "red")
    assert "red shoes" in shoes
    assert "the shoes are red" in shoes
    assert not any(" a red" in f" {text}" for text in shoes)
    assert "yellow hair" in many("recolour", "the hair", "yellow")
    assert "a red shoes" in many("recolour", "the shoes", "red", plural=False)
    assert "the dog on the left is red" in many("recolour", "the dog on the left", "red")
    assert "the dogs on the left are red" in many("recolour", "the dogs on the left", "red")


def test_a_qualified_phrase_is_always_said_whole():
    for phrase in ("the dog on the left", "the larger dog", "both dogs"):
        assert all(phrase in text for text in many("recolour", phrase, "red"))


def test_the_only_one_needs_no_more_words():
    assert find_phrase(np.random.default_rng(0), "dog", [Spot(0.5, 0.5, 1)], 0) == ("the dog", "only")


@pytest.mark.parametrize(
    ("spots", "index", "qualifiers"),
    [
        ([Spot(0.2, 0.5, 1), Spot(0.8, 0.5, 1)], 0, {"left"}),
        ([Spot(0.2, 0.5, 1), Spot(0.8, 0.5, 1)], 1, {"right"}),
        ([Spot(0.5, 0.2, 1), Spot(0.5, 0.8, 1)], 0, {"top"}),
        ([Spot(0.5, 0.2, 1), Spot(0.5, 0.8, 1)], 1, {"bottom"}),
        ([Spot(0.5, 0.5, 5), Spot(0.5, 0.5, 1)], 0, {"large"}),
        ([Spot(0.5, 0.5, 5), Spot(0.5, 0.5, 1)], 1, {"small"}),
        ([Spot(0.2, 0.2, 5), Spot(0.8, 0.8, 1), Spot(0.7, 0.7, 2)], 0, {"left", "top", "large"}),
        ([Spot(0.6, 0.5, 1), Spot(0.8, 0.5, 1)], 0, set()),  # the left one, but not on the left
        ([Spot(0.4, 0.5, 1), Spot(0.5, 0.5, 1)], 0, set()),  # too near each other
        ([Spot(0.2, 0.5, 1), Spot(0.5, 0.5, 1), Spot(0.8, 0.5, 1)], 1, set()),
    ],
)
def test_descriptions_fit_one_object_only(spots, index, qualifiers):
    rng = np.random.default_rng(0)
    found = [find_phrase(rng, "dog", spots, index) for _ in range(100)]
    assert {pair[1] for pair in found if pair} == qualifiers
    assert (None in found) == (not qualifiers)
    for phrase, qualifier in filter(None, found):
        assert "dog" in phrase
        if qualifier in SIDES:
            assert qualifier in phrase or {"top": "upper", "bottom": "lower"}[qualifier] in phrase
        else:
            assert ("st dog" in phrase) == (len(spots) > 2)


def test_all_of_them():
    rng = np.random.default_rng(0)
    assert {find_phrase_for_all(rng, "dog", 2) for _ in range(50)} == {"both dogs", "all the dogs"}
    assert {find_phrase_for_all(rng, "person", 3) for _ in range(50)} == {"all the people"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recolor", "the dress", "red"), "unknown kind of edit 'recolor': did you mean 'recolour'"),
        (("recolour", "the dress", "reddish"), "detail of recolour must be one of red, orange"),
        (("recolour", "the dress"), "detail of recolour must be one of"),
        (("pattern", "the dress", "zigzag"), "detail of pattern must be one of stripes"),
        (("darken", "  "), "phrase is empty"),
        (("swap", "the dress"), "detail of swap is the phrase of the object"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        edit_sentence(np.random.default_rng(0), *arguments)


def test_vocabulary_is_sorted_and_small():
    words = edit_vocabulary()
    assert list(words) == sorted(set(words))
    assert len(words) < 150
    assert set(edit_vocabulary(["t-shirt"])) - set(words) == {"t", "shirt", "shirts"}
