"""Colormaps: the eight tables, and those of matplotlib."""

import sys

import matplotlib as mpl
import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.colormaps import COLORMAPS
from mmgrad_explain.images.overlay import colorize


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_colormaps_are_the_known_ones(colormap):
    steps = np.linspace(0, 1, 256, dtype=np.float32)[None]
    expected = mpl.colormaps[colormap](steps)[..., :3] * 255
    assert np.abs(colorize(steps, colormap) - expected).max() <= 4


def test_other_colormaps_come_from_matplotlib():
    steps = np.linspace(0, 1, 256, dtype=np.float32)[None]
    assert np.abs(colorize(steps, "cividis") - mpl.colormaps["cividis"](steps)[..., :3] * 255).max() <= 1
    assert (colorize(steps, "gray_r") == colorize(steps, "gray")[:, ::-1]).all()


def test_unknown_colormap(monkeypatch):
    with pytest.raises(InputError, match="unknown colormap 'virdis': try viridis"):
        colorize(np.zeros((2, 2)), "virdis")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError) as caught:
        colorize(np.zeros((2, 2)), "xyz")
    assert str(caught.value) == ("unknown colormap 'xyz': try turbo, viridis, magma, inferno, plasma, gray, hot, jet")
    assert colorize(np.zeros((2, 2)), "inferno").shape == (2, 2, 3)
