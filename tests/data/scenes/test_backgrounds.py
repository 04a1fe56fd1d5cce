"""Backgrounds: noise, ramps, cut-outs of images, and the colours that stand out from them."""

import math

import numpy as np
import pytest

from mmgrad_explain.data.scenes.backgrounds import (
    blur,
    cut_backdrop,
    cut_smooth_noise,
    cut_window,
    draw_background,
    find_distinct_colors,
    make_noise_bank,
    make_ramp,
)
from mmgrad_explain.data.scenes.drawing import COLORS


def test_blur_spreads_one_pixel_and_loses_nothing():
    image = np.zeros((1, 5, 5, 3), np.float32)
    image[0, 2, 2] = 16
    blurred = blur(image, 0.25)
    assert blurred[0, 1:4, 1:4, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    corner = np.zeros((1, 5, 5, 3), np.float32)
    corner[0, 0, 0] = 16
    assert blur(corner, 0.25).sum() == corner.sum()  # edges repeat
    assert image[0, 2, 2, 0] == 16


def test_noise_is_made_once_and_even():
    bank = make_noise_bank(32)
    assert make_noise_bank(32) is bank
    assert np.allclose(bank["smooth"].std((1, 2)), 1, atol=1e-3)
    assert set(np.unique(bank["labels"])) <= set(range(6))
    assert cut_smooth_noise(np.random.default_rng(0), 32).shape == (32, 32, 1)


def test_windows_are_parts_of_the_field():
    field = np.arange(36.0).reshape(6, 6)
    seen = set()
    for seed in range(40):
        window = cut_window(np.random.default_rng(seed), field, 5)
        parts = [
            field[y : y + 5, x : x + 5][::a, ::b] for y in (0, 1) for x in (0, 1) for a in (1, -1) for b in (1, -1)
        ]
        (which,) = (i for i, part in enumerate(parts) if np.array_equal(part, window))
        seen.add(which)
    assert len(seen) > 8


@pytest.mark.parametrize("angle", [0, math.pi / 2, 1.0])
def test_a_ramp_goes_from_corner_to_corner(angle):
    ramp = make_ramp(16, angle)
    assert ramp.shape == (16, 16, 1)
    assert (ramp[0, 0, 0], ramp[-1, -1, 0]) == (pytest.approx(0, abs=1e-6), pytest.approx(1))


def test_backgrounds_are_in_range_and_vary():
    drawn = [draw_background(np.random.default_rng(seed), 40) for seed in range(60)]
    assert all(image.shape == (40, 40, 3) and image.dtype == np.float32 for image in drawn)
    assert all(image.min() >= 4 and image.max() <= 251 for image in drawn)
    spread = [image.std((0, 1)).max() for image in drawn]
    assert min(spread) < 0.01  # plain ones
    assert max(spread) > 20


@pytest.mark.parametrize("shape", [(70, 100, 3), (20, 20, 3), (1, 3, 3)])
def test_cut_outs_have_the_size_of_the_scene(shape):
    image = np.random.default_rng(0).integers(100, 120, shape).astype(np.uint8)
    for seed in range(5):
        part = cut_backdrop(np.random.default_rng(seed), image, 32)
        assert part.shape == (32, 32, 3)
        assert 99 < part.min() <= part.max() < 120


@pytest.mark.parametrize("color", COLORS)
def test_the_colour_of_the_ground_does_not_stand_out(color):
    ground = np.full((36, 36, 3), COLORS[color], np.float32)
    found = find_distinct_colors(ground)
    assert color not in found
    assert len(found) >= 5
    ground[:18] = COLORS["red"]
    assert "red" not in find_distinct_colors(ground)
