"""Parts of answers: how a caller gives them, and where they are in an answer."""

import pytest

from mmgrad_explain.composers.generative.answer_parts import (
    EACH_WORD,
    is_several,
    parts_of_each,
    place_of_part,
    words_of,
)
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("parts", "count", "expected"),
    [
        (None, 2, [[None], [None]]),
        ("dog", 2, [["dog"], ["dog"]]),
        ((0, 3), 2, [[(0, 3)], [(0, 3)]]),
        (["a", (0, 3)], 1, [["a", (0, 3)]]),
        (["a", "b"], 2, [["a"], ["b"]]),
        (["a", ["b", None]], 2, [["a"], ["b", None]]),
    ],
)
def test_parts_belong_to_answers(parts, count, expected):
    assert parts_of_each(parts, ["a dog"] * count) == expected


@pytest.mark.parametrize(
    ("parts", "count", "message"),
    [
        ([], 1, "an empty list for 1 answers"),
        (["a", []], 2, "an empty list for 2 answers"),
        (["a"], 2, "1 of them for 2 answers"),
    ],
)
def test_lists_that_do_not_fit(parts, count, message):
    with pytest.raises(InputError, match=message):
        parts_of_each(parts, ["a dog"] * count)
    with pytest.raises(TypeError, match=r"must be a string, .* got float"):
        parts_of_each([0.5], ["a dog"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("a red dress.", ["a", "red", "dress"]),
        ('It\'s a "well-known" dog, 3.5 m long', ["It's", "a", "well-known", "dog", "3.5", "m", "long"]),
        ("?! ..", ["?!", ".."]),
        ("", []),
    ],
)
def test_words_of_an_answer(answer, words):
    assert [answer[start:end] for start, end in words_of(answer)] == words


def test_each_word_stands_for_the_words_that_the_answers_turn_out_to_have():
    assert is_several(EACH_WORD)
    assert parts_of_each(EACH_WORD, ["a dog", "red"]) == [[None, (0, 1), (2, 5)], [None, (0, 3)]]
    assert repr(EACH_WORD) == "EACH_WORD"


def test_one_part_or_several():
    assert not is_several((1, 2))
    assert is_several((1, True))
    assert is_several(["a"])
    assert not is_several("a")


def test_a_part_is_found_as_whole_words_first():
    assert place_of_part("a", "a cat") == (0, 1)
    assert place_of_part("at", "a cat") == (3, 5)
    assert place_of_part(None, "a cat") == (0, 5)
    assert place_of_part((2, 5), "a cat") == (2, 5)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (" ", "answer_part is empty"),
        ("dog", "'dog' is not in the answer"),
        ("a cat", r"2 times in the answer .* one of \(0, 5\), \(10, 15\)"),
        ((3, 99), r"must be \(start, end\) in the answer"),
        ((3, 3), r"must be \(start, end\) in the answer"),
    ],
)
def test_parts_that_are_not_there(part, message):
    with pytest.raises(InputError, match=message):
        place_of_part(part, "a cat and a cat")
