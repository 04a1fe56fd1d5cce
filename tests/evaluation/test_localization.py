"""Maps on masks, against values worked out by hand."""

import pytest
import torch

from mmgrad_explain.evaluation.localization import energy_inside, intersection_over_union, pointing_game

MASK = torch.zeros(1, 4, 4, dtype=torch.bool)
MASK[0, :2, :2] = True


def test_a_perfect_map():
    maps = MASK.float()
    for figure in (pointing_game, energy_inside, intersection_over_union):
        assert figure(maps, MASK).tolist() == [1.0]


def test_hand_values():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 2, 2] = 0.5, 1.0, 0.5
    assert pointing_game(maps, MASK).tolist() == [0.0]
    assert energy_inside(maps, MASK).tolist() == [0.25]
    torch.testing.assert_close(intersection_over_union(maps, MASK), torch.tensor([1 / 6]))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_flat_map_points_nowhere(value):
    assert pointing_game(torch.full((1, 4, 4), value), MASK).tolist() == [0.0]


def test_a_dead_map_is_a_miss_and_no_nan():
    for figure in (pointing_game, energy_inside, intersection_over_union):
        assert figure(torch.zeros(1, 4, 4), MASK).tolist() == [0.0]


def test_equal_maxima_share_the_point():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = maps[0, 3, 3] = 1.0
    assert pointing_game(maps, MASK).tolist() == [0.5]


def test_shapes_must_agree():
    for figure in (pointing_game, energy_inside, intersection_over_union):
        with pytest.raises(ValueError, match=r"must both be \(B, H, W\)"):
            figure(torch.zeros(1, 4, 5), MASK)
