"""What a caller may ask of the words."""

import pytest

from mmgrad_explain.attention.word_values.request import GRADIENT, LEFT_OUT, WORD_WAYS, WordRequest, ensure_words
from mmgrad_explain.errors import InputError


def own(ids, kept):
    return [[("word", tuple(places))] for places in kept]


def test_nothing_is_wanted():
    assert ensure_words(None) is None
    assert ensure_words(False, own) is None


def test_a_way_by_name_and_who_names_the_words():
    assert ensure_words(own) == WordRequest(own)
    assert ensure_words(True, own) == WordRequest(own)
    assert ensure_words("gradient", own) == WordRequest(own, GRADIENT)
    assert ensure_words("leave-one-out").name([[7, 8]], [[1]]) == [[("#8", (1,))]]
    assert WORD_WAYS == (LEFT_OUT, GRADIENT)
    assert [ensure_words(words).needs_gradient for words in (True, *WORD_WAYS)] == [True, False, True]
    request = WordRequest(own, GRADIENT)
    assert ensure_words(request) is request


def test_a_tokenizer_names_words(pieces):
    ids = pieces.encode("make it redder").ids
    assert ensure_words(pieces).name([ids], [list(range(len(ids)))]) == [
        [("make", (1,)), ("it", (2,)), ("redder", (3, 4))]
    ]


def test_neither():
    with pytest.raises(TypeError, match=r"words must be True, 'leave-one-out', .* a callable, not int"):
        ensure_words(3)
    with pytest.raises(TypeError, match="tokenizer must be a tokenizer or a callable, not int"):
        ensure_words(True, 3)
    with pytest.raises(InputError, match="words: there is no 'gradients'; did you mean 'gradient'"):
        ensure_words("gradients")
