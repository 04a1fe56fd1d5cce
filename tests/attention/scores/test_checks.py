"""A score must be one finite number a sample."""

import math

import pytest
import torch

from mmgrad_explain.attention.scores.checks import check_finite, ensure_per_sample
from mmgrad_explain.errors import GradientError, InputError


def test_shapes():
    assert ensure_per_sample(torch.zeros(2, 1), [2]).shape == (2,)
    assert ensure_per_sample(torch.tensor(1.0), [1]).shape == (1,)
    assert ensure_per_sample(torch.zeros(3), [2, 3]).shape == (3,)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (1, 2), (2, 1, 1)])
def test_not_one_number_a_sample(shape):
    with pytest.raises(
        InputError,
        match=r"one number a sample, shape \(2,\): it has shape " + str(shape).replace("(", r"\(").replace(")", r"\)"),
    ):
        ensure_per_sample(torch.zeros(shape), [2])


def test_windows():
    with pytest.raises(InputError, match=r"a batch of 8, 4 for each. If that layer works on parts of images"):
        ensure_per_sample(torch.zeros(2), [8])
    with pytest.raises(InputError, match=r"a batch of 8. Do not average"):
        ensure_per_sample(torch.tensor(0.0), [8])


@pytest.mark.parametrize(("value", "what"), [(1.0, "float"), (torch.zeros(2, dtype=torch.int64), "torch.int64")])
def test_not_a_floating_tensor(value, what):
    with pytest.raises(TypeError, match=f"score must be a floating tensor with one number a sample, not {what}"):
        ensure_per_sample(value, [2])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_finite(bad):
    check_finite(torch.zeros(3))
    with pytest.raises(GradientError, match=r"not finite for samples \[1\]"):
        check_finite(torch.tensor([0.0, bad, 1.0]))
