"""Floors, worked out by hand."""

import pytest
import torch

from mmgrad_explain.metrics.floors import best_fixed_point, centre_gaussian, chance, image_centre, random_map

TALL, WIDE = torch.zeros(40, 20, dtype=torch.bool), torch.zeros(20, 40, dtype=torch.bool)
TALL[:20] = True  # the upper half
WIDE[:10, :20] = True  # the upper left quarter


def test_chance_and_centre():
    assert chance([TALL, WIDE]).tolist() == [0.5, 0.25]
    assert image_centre([TALL, ~TALL]).tolist() == [0.0, 1.0]


def test_the_best_point_is_relative_to_each_image():
    share, (y, x) = best_fixed_point([TALL, WIDE], grid=8)
    assert share == 1.0
    assert y < 0.5
    assert x < 0.5
    assert best_fixed_point([TALL, ~TALL])[0] == 0.5


def test_the_gaussian_is_brightest_in_the_middle_and_scales_with_each_side():
    bright = centre_gaussian(5, 9)
    assert bright.argmax() == 2 * 9 + 4
    assert bright[2, 4] == 1
    torch.testing.assert_close(bright, bright.flip(0, 1))
    assert float(bright[2, 0]) == pytest.approx(2.718281828 ** (-0.5 * (4 / 9 / 0.25) ** 2))


def test_random_maps_are_smooth_and_repeatable():
    one, two = (random_map(32, 24, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (32, 24)
    assert torch.equal(one, two)
    assert one.diff(dim=0).abs().max() < 0.2
