"""Drawing single objects."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mmgrad_explain.data.scenes.drawing import (
    COLORS,
    DIAMETERS,
    SHAPES,
    DrawnObject,
    draw_radius,
    draw_sprite,
    make_object,
    vary_color,
)

THING = DrawnObject(
    "circle", "red", "large", 0.5, 0.5, 32.0, 32.0, 20.0, 0.0, (200.0, 40.0, 40.0), 0.0, (0.0, 0.0), 0.0
)
AREAS = {
    "circle": 0.81 * math.pi,
    "square": 1.96,
    "triangle": 3 * math.sqrt(3) / 4,
    "ring": math.pi * (0.93**2 - 0.53**2),
}


def opacity(thing, size=64):
    where, alpha, colors = draw_sprite(thing, size)
    assert colors.shape == (*alpha.shape[:2], 3)
    drawn = np.zeros((size, size))
    drawn[where] = alpha[..., 0]
    return drawn


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_within_its_circle(shape):
    drawn = opacity(replace(THING, shape=shape))
    assert drawn.min() == 0
    assert drawn.max() == 1
    y, x = np.nonzero(drawn)
    assert np.hypot(x + 0.5 - 32, y + 0.5 - 32).max() < 20 + 1.5
    if shape in AREAS:
        assert drawn.sum() == pytest.approx(AREAS[shape] * 20**2, rel=0.02)


def test_shapes_differ():
    drawn = [opacity(replace(THING, shape=shape)) for shape in SHAPES]
    assert min(np.abs(a - b).sum() for i, a in enumerate(drawn) for b in drawn[:i]) > 100


def test_an_object_turns_and_is_cut_at_the_edge():
    upright, turned = (opacity(replace(THING, shape="square", angle=angle)) for angle in (0.0, math.pi / 4))
    assert upright[32 - 18, 32] < turned[32 - 18, 32] == 1
    assert opacity(replace(THING, x=0.0, y=0.0)).sum() == pytest.approx(opacity(THING).sum() / 4, rel=0.05)


def test_colours_shading_and_outline():
    def colors(**changes):
        _, alpha, drawn = draw_sprite(replace(THING, **changes), 64)
        return drawn[alpha[..., 0] == 1]

    assert np.allclose(colors(), THING.rgb)
    assert np.ptp(colors(shade=(0.1, 0.0))[:, 0]) > 10
    assert colors(outline=-0.55).min(0)[0] < 120 < colors(outline=-0.55).max(0)[0]
    assert colors(outline=0.7).max() > 200
    assert colors(highlight=0.5)[:, 1].max() > 100


def test_drawn_looks_stay_near_what_they_are_called():
    rng = np.random.default_rng(0)
    for color, rgb in COLORS.items():
        for _ in range(20):
            assert np.abs(np.array(vary_color(rng, color)) - rgb).max() < 0.11 * 255 + 10
    for size, (low, high) in DIAMETERS.items():
        radii = [draw_radius(rng, size, 100) for _ in range(50)]
        assert low * 50 <= min(radii) < max(radii) <= high * 50
    thing = make_object(rng, "star", "cyan", "small", 100)
    assert (thing.shape, thing.color, thing.size) == ("star", "cyan", "small")
