"""Ranks, against a slow count."""

import pytest
import torch

from mmgrad_explain.metrics.retrieval import recall_at, target_rank


def test_rank_against_a_slow_count():
    similarity = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 3, 8, 2, 2, 5, 1])
    expected = [1 + sum(float(s) > float(row[t]) for s in row) for row, t in zip(similarity, target, strict=True)]
    assert target_rank(similarity, target).tolist() == expected


def test_ties_count_half_and_candidates_restrict():
    similarity = torch.tensor([[0.5, 0.5, 0.9, 0.5]])
    target = torch.tensor([0])
    assert target_rank(similarity, target).tolist() == [3.0]
    assert target_rank(similarity, target, torch.tensor([[True, True, False, False]])).tolist() == [1.5]


def test_recall():
    assert recall_at(torch.tensor([1.0, 1.5, 2.0]), 1).tolist() == [1.0, 0.0, 0.0]


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        target_rank(torch.tensor([[float("nan"), 1.0]]), torch.tensor([0]))
