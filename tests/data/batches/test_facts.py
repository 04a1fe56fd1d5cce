"""What images show and texts ask for."""

import pytest
import torch

from mmgrad_explain.data.batches.facts import Facts, join_facts, match_facts, same_photo
from mmgrad_explain.errors import InputError


def int8(*rows):
    return torch.tensor(rows, dtype=torch.int8)


def test_right_wrong_and_unknown():
    asks = int8([1, -1, 0], [-1, -1, -1], [1, 1, -1])
    shows = int8([1, 0, 0], [0, 1, 0], [1, 1, 1], [1, -1, -1], [-1, 0, 0])
    right, wrong = match_facts(asks, shows)
    assert right.tolist() == [[True, False, False, False, False], [False] * 5, [False, False, True, False, False]]
    assert wrong.tolist() == [[False, True, True, False, False], [False] * 5, [True, True, False, False, True]]


def test_views_of_one_photograph():
    assert same_photo(torch.tensor([3, -1]), torch.tensor([3, 4, -1])).tolist() == [[True, False, False], [False] * 3]


def facts(images=2, edits=3):
    numbers = torch.arange(images + 2 * edits, dtype=torch.int8)[:, None].expand(-1, 4).split([images, edits, edits])
    return Facts(*numbers, torch.arange(images), torch.arange(edits) % images, classes=2)


def test_facts_of_some_images():
    part = facts().take(torch.tensor([1]), torch.tensor([0, 2]))
    assert part.references[:, 0].tolist() == [1]
    assert part.targets[:, 0].tolist() == [2, 4]
    assert part.asks[:, 0].tolist() == [5, 7]
    assert part.reference_photos.tolist() == [1]
    assert part.target_photos.tolist() == [0, 0]
    assert part.classes == part.to("cpu").classes == 2
    assert facts().gallery[:, :2].tolist() == [[0, 2], [1, 3], [0, 4], [0, 0], [1, 1]]


def test_batches_without_facts_join_as_unknown():
    assert join_facts([None, None], [(1, 1), (2, 2)]) is None
    joined = join_facts([None, facts()], [(1, 2), (2, 3)])
    assert joined.references[:, 0].tolist() == [-1, 0, 1]
    assert joined.asks[:, 0].tolist() == [-1, -1, 5, 6, 7]
    assert joined.target_photos.tolist() == [-1, -1, 0, 1, 0]
    assert joined.classes == 2
    with pytest.raises(InputError, match="two of them number facts"):
        join_facts([facts(), facts()], [(2, 3), (2, 3)])
