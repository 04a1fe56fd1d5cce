"""Modules that give the same whatever an image's tokens are: found, and repeated along the axis of their samples."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention.methods.attention.steady_modules import find_steady_modules, repeat_outputs

BATCH = 2


class Towers(nn.Module):
    """An image's head beside a text's tower of two modules; the scale is used by both."""

    def __init__(self, *, batch_first=True):
        super().__init__()
        self.head, self.scale, self.words = nn.Linear(4, 4), nn.LayerNorm(4), nn.Embedding(9, 4)
        self.text = nn.ModuleDict({"order": nn.GRU(4, 4, batch_first=batch_first), "out": nn.Linear(4, 4)})

    def forward(self, tokens, ids):
        words = self.words(ids)
        states, last = self.text["order"](words if self.text["order"].batch_first else words.transpose(0, 1))
        assert states.ndim == 3
        return (self.scale(self.head(tokens)) * self.scale(self.text["out"](last[0]))).sum(-1)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randn(BATCH, 4, generator=generator) for _ in range(2)]
    return tokens, torch.tensor([[1, 2, 3, 4, 5], [5, 6, 1, 7, 8]])


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_text_tower_is_steady_and_what_both_sides_use_is_not(inputs, batch_first):
    tokens, ids = inputs
    model = Towers(batch_first=batch_first).eval()
    hooks = sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())
    found = find_steady_modules(model, [lambda one=one: model(one, ids) for one in tokens], BATCH)
    assert set(found) == {model.words, model.text["order"], model.text["out"]}
    states, last = repeat_outputs(found, 3, BATCH)[model.text["order"]][0]
    again, end = model.text["order"](model.words(ids.repeat(3, 1)) if batch_first else model.words(ids.repeat(3, 1).T))
    torch.testing.assert_close(states, again)
    torch.testing.assert_close(last, end)
    assert sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()) == hooks == 0


class Nested(nn.Module):
    """A tower with a module inside, which is called outside the tower too."""

    def __init__(self, *, outside):
        super().__init__()
        self.tower, self.outside = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), outside

    def forward(self, tokens, vectors):
        read = self.tower(vectors)
        return (tokens * (read + self.tower[0](vectors) if self.outside else read)).sum(-1)


@pytest.mark.parametrize("outside", [False, True])
def test_only_the_outermost_are_taken(inputs, outside):
    """Inside a tower that is not computed nothing is called, so that the calls of its modules would be miscounted."""
    (one, other), _ = inputs
    model = Nested(outside=outside)
    found = find_steady_modules(model, [lambda: model(one, one), lambda: model(other, one)], BATCH)
    assert set(found) == {model.tower}


class Changing(nn.Module):
    """Adds to what a module returned, in place."""

    def __init__(self):
        super().__init__()
        self.text = nn.Linear(4, 4)

    def forward(self, tokens, vectors):
        return tokens * self.text(vectors).add_(1)


def test_what_is_changed_in_place_afterwards_is_computed_again(inputs):
    (one, other), _ = inputs
    model = Changing()
    with torch.no_grad():
        assert find_steady_modules(model, [lambda: model(one, one), lambda: model(other, one)], BATCH) == {}


def test_outputs_whose_samples_cannot_be_told_are_computed_again(inputs):
    (one, other), _ = inputs
    model = Nested(outside=False)
    assert find_steady_modules(model, [lambda: model(one, one), lambda: model(other, one)], BATCH + 1) == {}
