"""Means and galleries over several processes, seen from one of two; ``test_several_processes.py`` runs two."""

import pytest
import torch

from mmgrad_explain.training import distributed
from mmgrad_explain.training.distributed import (
    broadcast,
    is_first,
    join_galleries,
    mean_of_processes,
    mean_over_all,
    wait_for_all,
)


class SecondOfTwo:
    """In the place of torch.distributed: this is process 1, and ``first`` is what process 0 sends, call by call."""

    def __init__(self, *first):
        self.first = list(first)

    def is_available(self):
        return True

    is_initialized = is_available

    def get_world_size(self):
        return 2

    def get_rank(self):
        return 1

    def all_reduce(self, values):
        values += self.first.pop(0)

    def all_gather(self, parts, own):
        parts[0].copy_(self.first.pop(0))
        parts[1].copy_(own)

    def broadcast_object_list(self, shared, src):
        assert src == 0
        shared[0] = self.first.pop(0)


@pytest.fixture
def second_of_two(monkeypatch):
    def start(*first):
        monkeypatch.setattr(distributed, "distributed", SecondOfTwo(*first))

    return start


def test_one_process_is_alone(monkeypatch):
    values = torch.tensor([1.0, 0.0, 3.0])
    assert broadcast("mine") == "mine"
    assert mean_of_processes(values) is values
    assert mean_over_all(values).item() == pytest.approx(4 / 3)
    assert mean_over_all(values, torch.tensor([True, False, True])).item() == 2.0
    assert mean_over_all(values[:0]).item() == 0.0
    gallery = torch.ones(3, 2)
    assert join_galleries(gallery, 2) == (gallery, 0)
    assert is_first()
    monkeypatch.setenv("RANK", "1")
    assert not is_first()


def test_the_second_takes_what_the_first_sends(second_of_two):
    second_of_two({"r1": 0.5}, None)
    assert not is_first()
    assert broadcast({"r1": 0.1}) == {"r1": 0.5}
    wait_for_all()
    second_of_two(torch.tensor([3.0]))
    values = torch.tensor([1.0], requires_grad=True)
    mean = mean_of_processes(values)
    assert mean.tolist() == [2.0]
    assert not mean.requires_grad
    assert values.tolist() == [1.0]


def test_the_mean_of_the_parts_is_the_mean_over_all_samples(second_of_two):
    """Here samples 1 and 3, in the first process a 5."""
    second_of_two(1)
    part = mean_over_all(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([True, False, True]))
    assert part.item() == pytest.approx(2 * 4 / 3)
    assert (part.item() + 2 * 5 / 3) / 2 == pytest.approx((1 + 3 + 5) / 3)


def test_galleries_are_joined_and_each_row_gets_its_gradient(second_of_two):
    """The first process has two targets and one reference, this one a target and two references."""
    targets, references = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [0.0]])
    second_of_two(torch.tensor([2, 1]), targets, references, torch.tensor(0.5), torch.tensor(0.5))
    own = torch.tensor([[7.0], [8.0], [9.0]], requires_grad=True)
    joined, first = join_galleries(own, 1)
    assert joined.flatten().tolist() == [1.0, 2.0, 7.0, 3.0, 8.0, 9.0]
    assert first == 2
    (gradient,) = torch.autograd.grad((joined.flatten() * torch.arange(6)).sum(), own)
    assert gradient.flatten().tolist() == [2.5, 4.5, 5.5]  # its places in the gallery, and what the first process adds


def test_images_of_several_vectors_are_joined(second_of_two):
    """The first process has more rows, so that this one's are padded on the way."""
    theirs, more = torch.randn(3, 2, 4), torch.randn(1, 2, 4)
    second_of_two(torch.tensor([3, 1]), theirs, more)
    own = torch.randn(2, 2, 4)
    joined, first = join_galleries(own, 1)
    assert torch.equal(joined, torch.cat([theirs, own[:1], more, own[1:]]))
    assert first == 3
