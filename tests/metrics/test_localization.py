"""Maps on masks, against values worked out by hand."""

import pytest
import torch

from mmgrad_explain.metrics.localization import (
    contrast_accuracy,
    energy_inside,
    intersection_over_union,
    pointing_game,
    roc_auc,
)

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


def test_figures_against_slow_references():
    """Pixel by pixel in float64, on random maps with ties."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 6, (12, 5, 6), generator=generator).float()
    masks = torch.rand(12, 5, 6, generator=generator) < 0.3
    others = (torch.rand(12, 5, 6, generator=generator) < 0.4) & ~masks
    masks[:, 0, 0], others[:, 0, 0], others[:, 4, 5], masks[:, 4, 5] = True, False, True, False
    figures = [figure(maps, masks) for figure in (pointing_game, energy_inside, intersection_over_union, roc_auc)] + [
        contrast_accuracy(maps, masks, others)
    ]
    for i in range(12):
        cells = list(zip(*(tensor[i].flatten().tolist() for tensor in (maps, masks, others)), strict=True))
        values, peak = [m for m, _, _ in cells], max(m for m, _, _ in cells)
        inside, outside = [m for m, a, _ in cells if a], [m for m, a, _ in cells if not a]
        other = [m for m, _, b in cells if b]
        tops = [a for m, a, _ in cells if m == peak]
        bright = [m >= 0.5 * peak for m in values]
        wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x in inside for y in outside]
        means = sum(inside) / len(inside), sum(other) / len(other)
        expected = [
            sum(tops) / len(tops),
            sum(inside) / sum(values),
            sum(x and a for x, (_, a, _) in zip(bright, cells, strict=True))
            / sum(x or a for x, (_, a, _) in zip(bright, cells, strict=True)),
            sum(wins) / len(wins),
            1.0 if means[0] > means[1] else 0.5 if means[0] == means[1] else 0.0,
        ]
        assert [float(figure[i]) for figure in figures] == pytest.approx(expected)


OTHER = torch.zeros(1, 4, 4, dtype=torch.bool)
OTHER[0, 2:, :] = True


def test_contrast_compares_means_so_that_size_is_no_advantage():
    maps = torch.zeros(1, 4, 4)
    maps[0, :2, :2], maps[0, 2:, :] = 0.6, 0.4  # sums 2.4 and 3.2
    assert contrast_accuracy(maps, MASK, OTHER).tolist() == [1.0]
    assert contrast_accuracy(maps, OTHER, MASK).tolist() == [0.0]


def test_contrast_of_a_map_that_tells_nothing():
    maps = torch.zeros(1, 4, 4)
    assert contrast_accuracy(maps, MASK, OTHER).tolist() == [0.0]
    assert contrast_accuracy(maps + 1, MASK, OTHER).tolist() == [0.0]
    maps[0, 0, 3] = 1.0  # alive, and equally dark in both regions
    assert contrast_accuracy(maps, MASK, OTHER).tolist() == [0.5]


def test_a_map_that_ignores_the_text_is_right_in_one_order_of_two():
    maps = torch.rand(20, 4, 4, generator=torch.Generator().manual_seed(0))
    masks, others = MASK.expand(20, 4, 4), OTHER.expand(20, 4, 4)
    both = contrast_accuracy(maps, masks, others) + contrast_accuracy(maps, others, masks)
    assert both.tolist() == [1.0] * 20


def test_contrast_leaves_out_what_lies_in_both_regions():
    maps, shared = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    maps[0, :2, :2], maps[0, 3, 3], maps[0, 2, 0], shared[0, 3, 3] = 0.5, 9.0, 2.0, True
    assert contrast_accuracy(maps, MASK | shared, OTHER).tolist() == [1.0]
    assert contrast_accuracy(maps, OTHER, MASK | shared).tolist() == [0.0]
    with pytest.raises(ValueError, match="two regions with pixels of their own; leave such pairs out"):
        contrast_accuracy(maps, MASK, MASK | OTHER)


def test_area_under_the_curve():
    assert roc_auc(MASK.float(), MASK).tolist() == [1.0]
    assert roc_auc(1 - MASK.float(), MASK).tolist() == [0.0]
    assert roc_auc(torch.zeros(1, 4, 4), MASK).tolist() == [0.5]
    assert roc_auc(MASK.float(), torch.ones_like(MASK)).isnan().all()
