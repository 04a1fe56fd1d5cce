"""Which words of a sentence say what is meant."""

import pytest

from mmgrad_explain.api import explain
from mmgrad_explain.composers.content_words import (
    NEUTRAL,
    check_understood,
    content_words,
    count_classes,
    say_lost,
    word_class,
)
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red dress instead", ["red", "dress"]),
        ("Make the T-shirt RED, please!", ["shirt", "RED"]),
        ("remove it", ["remove"]),  # where there is nothing else, what is done says what is meant
        ("remove the ring", ["ring"]),
        ("make it like this one", []),
        ("make the zeppelin sparkle", ["zeppelin", "sparkle"]),
        ("делай красным", ["делай", "красным"]),
    ],
)
def test_things_and_looks_are_content(text, words):
    assert content_words(text) == words


def test_classes():
    assert [word_class(word) for word in ("dress", "Red", "remove", "instead")] == [0, 1, 2, 3]
    assert count_classes(["dress", "red", "left", "remove", "the"]) == (1, 2, 1, 1)


def test_a_text_is_lost_where_no_content_word_is_known():
    assert say_lost("make the dress red", ["dress"]) is None
    assert say_lost("make the dress sparkle", ["Dress", "sparkle"]) == (
        "knows none of the words that say what is meant ('dress', 'sparkle')"
    )
    assert say_lost("remove the dress", ["dress"]).startswith("knows none")  # "remove" alone does not say what
    assert say_lost("make it", []) == "reads no word that says what is meant"


def test_a_map_of_such_a_text_is_flagged(tiny, picture):
    notes = explain(picture, ["remove the zeppelin", "make the zeppelin red"], model=tiny).notes
    (lost,) = (note for note in notes if note.kind == "lost-text")
    assert lost.samples == (0,)
    assert lost.text == (
        "'remove the zeppelin': the model knows none of the words that say what is meant ('zeppelin'): "
        "do not trust the map"
    )
    assert [note.samples for note in notes if note.kind == "unknown-words"] == [(0,), (1,)]


def test_it_is_refused_with_the_choices(tiny):
    check_understood(tiny, "make the zeppelin red", "leave it")
    with pytest.raises(
        InputError, match=r"\('zeppelin'\): use words that it knows \(ball, box, .* \.\.\.\), or leave it"
    ):
        check_understood(tiny, "remove the zeppelin", "leave it")
    tiny.processor = None  # what makes something of every word
    check_understood(tiny, "remove the zeppelin", "leave it")


def test_neutral_words_are_fillers_that_turn_nothing_around():
    assert {"please", "slightly", "the", "is"} <= NEUTRAL
    assert not NEUTRAL & {"no", "not", "without", "less", "than", "instead", "from", "to", "or", "same", "other", "all"}
    assert all(word_class(word) == 3 for word in NEUTRAL)
