"""The record of one word."""

import dataclasses
import json

import pytest

from mmgrad_explain.explanation import Word


def test_the_names_of_the_manifest():
    word = Word("schöner", -0.25, -1.0, (2, 3))
    assert word.to_dict() == {"word": "schöner", "value": -0.25, "scaled": -1.0, "tokens": [2, 3]}
    assert json.loads(json.dumps(word.to_dict())) == word.to_dict()


def test_a_word_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Word("red", 1.0, 1.0, (1,)).value = 2.0
