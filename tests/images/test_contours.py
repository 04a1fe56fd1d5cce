"""Outlines of where heat exceeds some levels."""

import sys

import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.contours import contour


def test_outline_of_a_mask_is_on_its_border():
    mask = np.zeros((80, 100), bool)
    mask[20:60, 30:70] = True
    gray = np.full((80, 100, 3), 128, np.uint8)
    drawn = contour(gray, mask, width=2)
    bright = (drawn == 255).all(-1)
    assert bright[19:21, 35:65].all()
    assert bright[59:61, 35:65].all()
    assert bright[25:55, 29:31].all()
    assert (drawn[30:50, 40:60] == 128).all()
    assert (drawn[:15] == 128).all()
    assert drawn.min() < 90  # the dark rim


def test_outline_of_a_hill_is_a_circle_at_the_level():
    y, x = np.mgrid[:200, :200]
    distance = np.hypot(y - 100, x - 100)
    heat = np.clip(1 - distance / 100, 0, 1)
    black = np.zeros((200, 200, 3), np.uint8)
    drawn = contour(black, heat, levels=(0.3, 0.7), width=3)[..., 0] / 255
    expected = np.maximum(*(np.clip(2 - np.abs(distance - radius), 0, 1) for radius in (70, 30)))
    assert np.abs(drawn - expected).max() < 0.3
    assert np.abs(drawn - expected).mean() < 0.005


def test_outline_has_its_colour_and_width(photo, heat):
    thin, thick = (contour(photo, heat, color=(255, 0, 0), width=width) for width in (2, 6))
    red = [(drawn == (255, 0, 0)).all(-1).sum() for drawn in (thin, thick)]
    assert 0 < red[0] < red[1] / 2
    large = contour(np.zeros((900, 900, 3), np.uint8), heat)
    small = contour(np.zeros((90, 90, 3), np.uint8), heat)
    assert (large > 200).mean() < (small > 200).mean()  # thicker on large pictures, but not ten times
    assert (large > 200).sum() > 10 * (small > 200).sum()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_heat_has_no_outline(photo, value):
    assert (contour(photo, np.full((7, 7), value)) == photo).all()


def test_outlines_do_not_need_cv2(photo, heat, monkeypatch):
    expected = contour(photo, heat, (0.3, 0.8))
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert (contour(photo, heat, (0.3, 0.8)) == expected).all()


@pytest.mark.parametrize("levels", [(), (0.0,), (0.5, 1.0), (float("nan"),)])
def test_levels_out_of_range(photo, heat, levels):
    with pytest.raises(InputError) as caught:
        contour(photo, heat, levels)
    assert str(caught.value) == f"levels must be in (0, 1), not {list(levels)}"


def test_levels_may_be_an_array(photo, heat):
    assert (contour(photo, heat, np.array([0.3, 0.6])) == contour(photo, heat, (0.3, 0.6))).all()


@pytest.mark.parametrize("width", [0, -1, 1000, float("nan")])
def test_width_out_of_range(photo, heat, width):
    with pytest.raises(InputError) as caught:
        contour(photo, heat, width=width)
    assert str(caught.value) == f"width must be in (0, 100] pixels, not {width}"
