"""Recall among targets and references, and means by kind."""

import math

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.figures import mean_by_kind, measure_recall

ONE, OTHER, BETWEEN = torch.eye(2)[0], torch.eye(2)[1], torch.tensor([0.8, 0.6])


def test_recall_in_the_gallery_and_among_siblings():
    queries = torch.stack([ONE, ONE, OTHER])
    targets = torch.stack([ONE, BETWEEN, OTHER])
    references = torch.stack([OTHER, BETWEEN])
    recall, siblings = measure_recall(queries, targets, references, torch.tensor([0, 1, 1]), torch.tensor([0, 1]))
    assert recall.tolist() == [1, 0, 0]  # the third shares its place with a reference
    assert siblings.tolist() == [1, 0, 1]  # the second is as near to its own reference
    assert recall.dtype == torch.float32


def test_an_embedding_that_is_nan_is_no_hit_and_no_miss():
    queries = torch.stack([ONE, ONE * math.nan])
    with pytest.raises(InputError, match="similarity: 1 of 2 queries have NaN"):
        measure_recall(queries, queries.nan_to_num(), ONE[None], torch.zeros(2), torch.zeros(1))


def test_means_by_kind():
    assert mean_by_kind(torch.tensor([1.0, 0.0, 0.5]), ["b", "a", "b"]) == {"a": 0.0, "b": 0.75}
