"""Scores of changed outputs keep the constants of the original one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from mmgrad_explain.attention.scores.embedding import PairScore, TextShift
from mmgrad_explain.attention.scores.held_constants import HeldConstants

if TYPE_CHECKING:
    from collections.abc import Callable


def _rows(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stop", [Tensor.detach, torch.detach, lambda tensor: tensor.data])
def test_every_way_of_stopping_a_gradient_is_held(stop: Callable[[Tensor], Tensor]) -> None:
    score = HeldConstants(lambda output: (output * stop(output)).sum(-1), _rows(1))
    torch.testing.assert_close(score.score, _rows(1).square().sum(-1))
    torch.testing.assert_close(score(_rows(2)), (_rows(2) * _rows(1)).sum(-1))
    index = torch.tensor([2, 0, 2, 1])
    torch.testing.assert_close(score(_rows(3, 4), index), (_rows(3, 4) * _rows(1)[index]).sum(-1))


def test_its_slope_is_the_gradient_that_is_explained() -> None:
    start, step = _rows(1).double(), 1e-6 * _rows(2).double()
    for scorer in (TextShift(empty=torch.zeros(5)), PairScore(), PairScore("different")):
        output = start if isinstance(scorer, TextShift) else (start, _rows(4).double())
        moved = start + step if isinstance(scorer, TextShift) else (start + step, _rows(4).double())
        held = HeldConstants(scorer, output)
        leaf = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            scorer(leaf if isinstance(scorer, TextShift) else (leaf, output[1])).sum(), leaf
        )
        torch.testing.assert_close(held(moved) - held.score, (gradient * step).sum(-1), rtol=1e-3, atol=1e-12)


def test_a_score_without_constants_is_the_score_itself() -> None:
    held = HeldConstants(lambda output: output.square().sum(-1), _rows(1))
    torch.testing.assert_close(held(_rows(2)), _rows(2).square().sum(-1))


def test_a_score_that_is_one_number_of_one_sample() -> None:
    held = HeldConstants(lambda output: (output * output.detach()).sum(), _rows(1, 1))
    torch.testing.assert_close(held(_rows(2, 1), torch.tensor([0])), (_rows(2, 1) * _rows(1, 1)).sum())


def test_nothing_is_held_after_the_call() -> None:
    HeldConstants(lambda output: (output * output.detach()).sum(-1), _rows(1))(_rows(2))
    assert _rows(3).requires_grad_().detach().equal(_rows(3))
