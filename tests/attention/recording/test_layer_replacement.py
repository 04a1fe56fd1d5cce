"""What a layer returns can be replaced in one of its calls, wherever it lies in the output."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention.recording.layer_replacement import find_path, replaced_output
from mmgrad_explain.errors import CaptureError


class Pair(nn.Module):
    """Returns its input and twice its input, by name."""

    def forward(self, x):
        return {"once": x, "more": [2 * x]}


class Twice(nn.Module):
    """Runs its layer on two inputs."""

    def __init__(self):
        super().__init__()
        self.layer = Pair()

    def forward(self, a, b):
        return self.layer(a)["more"][0] + 10 * self.layer(b)["more"][0]


@pytest.fixture
def twice():
    return Twice()


@pytest.mark.parametrize(("call", "expected"), [(0, 7 + 40), (1, 2 + 70)])
def test_one_call_is_replaced(twice, call, expected):
    a, b = torch.ones(2, 1), 2 * torch.ones(2, 1)
    path = find_path(twice.layer, call, 2 * (a, b)[call], lambda: twice(a, b))
    assert path == "[more][0]"
    with replaced_output(twice.layer, call, path, torch.full((2, 1), 7.0)):
        assert twice(a, b).flatten().tolist() == [expected] * 2
    assert twice(a, b).flatten().tolist() == [42] * 2
    assert not twice.layer._forward_hooks


def test_hooks_are_gone_after_an_error(twice):
    with pytest.raises(ZeroDivisionError):
        find_path(twice.layer, 0, torch.ones(1), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), replaced_output(twice.layer, 0, "", torch.ones(1)):
        1 / 0  # noqa: B018
    assert not twice.layer._forward_hooks


def test_values_that_do_not_come_again_are_refused(twice):
    a = torch.ones(2, 1)
    with pytest.raises(CaptureError, match="other values for the same inputs"):
        find_path(twice.layer, 0, 5 * a, lambda: twice(a, a))
