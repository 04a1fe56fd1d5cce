"""Scores made of any function."""

import pytest
import torch

from mmgrad_explain.attention.scores.base import CallableScore, Score


def test_a_function_becomes_a_score_with_a_name():
    score = CallableScore(lambda output: output.mean(1), "brightness")
    assert isinstance(score, Score)
    assert score.name == "brightness"
    assert torch.equal(score(torch.tensor([[1.0, 3.0], [4.0, 6.0]])), torch.tensor([2.0, 5.0]))


@pytest.mark.parametrize("value", [1.0, None, [torch.ones(2)]])
def test_a_function_that_returns_no_tensor(value):
    with pytest.raises(TypeError, match=f"must return a tensor with one number a sample, not {type(value).__name__}"):
        CallableScore(lambda output: value, "odd")(torch.ones(2, 3))


@pytest.mark.parametrize("thing", [lambda output: output, "shift", type("Nameless", (), {"__call__": abs})()])
def test_what_is_no_score(thing):
    assert not isinstance(thing, Score)
