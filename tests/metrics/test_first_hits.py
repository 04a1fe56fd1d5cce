"""Right images among the first hits."""

import torch

from mmgrad_explain.metrics.first_hits import share_of_right_hits


def test_as_many_hits_are_looked_at_as_there_are_right_images():
    similar = torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.1]])
    right = torch.tensor([[True, False, True, False], [False, False, False, True], [False] * 4])
    shares = share_of_right_hits(similar, right)
    assert shares[:2].tolist() == [0.5, 0.0]
    assert shares[2].isnan()


def test_images_that_are_not_searched_do_not_count():
    similar, right = torch.tensor([[0.9, 0.8, 0.1]]), torch.tensor([[True, False, True]])
    assert share_of_right_hits(similar, right, torch.tensor([[False, True, True]])).tolist() == [0.0]
    assert share_of_right_hits(similar, right, torch.tensor([[True, False, True]])).tolist() == [1.0]


def test_at_most_so_many():
    similar, right = torch.arange(10, 0, -1.0)[None], torch.arange(10)[None] >= 1
    assert share_of_right_hits(similar, right, most=2).tolist() == [0.5]
