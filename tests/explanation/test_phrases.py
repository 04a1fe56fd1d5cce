"""How a sentence falls into phrases."""

import time

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.phrases import check_spans, split_phrases


def phrases(text):
    return [text[start:end] for start, end in split_phrases(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("make the red circle left of the ring blue", ["the red circle", "left of the ring blue"]),
        ("move the star to the left of the ring", ["the star", "to the left of the ring"]),
        ("a dog with a hat, and two cats in the box", ["a dog", "with a hat", "two cats", "in the box"]),
        ("Remove the woman's bag and add a long-haired cat", ["the woman's bag", "a long-haired cat"]),
        ("make it red", ["make it red"]),
        ("remove it", []),
        ("is shorter and has a darker blue", ["is shorter", "a darker blue"]),
        ("the car next to the tree", ["the car", "next to the tree"]),
        ("turn right", ["turn right"]),
        ("", []),
        ("...", []),
        ("le café noir", ["le café noir"]),
    ],
)
def test_the_rules(text, expected):
    assert phrases(text) == expected


def test_given_phrases():
    text = "the dog and the dog"
    assert check_spans(text, ["the dog", "the dog"]) == [(0, 7), (12, 19)]
    assert check_spans(text, ["and", "the dog", (0, 3)]) == [(8, 11), (12, 19), (0, 3)]
    assert check_spans(text, ["dog", "and", "the"]) == [(4, 7), (8, 11), (12, 15)]
    assert check_spans(text, [(12, 19), "and"]) == [(12, 19), (8, 11)]
    for wrong in ("cat", "", (5, 5), (0, 99), (-2, 3), (3, 4)):
        with pytest.raises(InputError, match=r"phrases: .* is not a part of 'the dog and the dog'"):
            check_spans(text, [wrong])
    with pytest.raises(InputError, match="phrases: the list is empty"):
        check_spans(text, [])
    for wrong in (3, (1, 2, 3), ("a", "b")):
        with pytest.raises(TypeError, match=r"phrases must be strings or \(start, end\) pairs"):
            check_spans(text, [wrong])


def test_a_long_text_takes_time_in_proportion():
    """Two hundred thousand words, which took hours where each was compared with all before it."""
    begun = time.perf_counter()
    assert split_phrases("word " * 200_000) == [(0, 999_999)]
    assert time.perf_counter() - begun < 20
