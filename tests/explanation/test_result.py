"""The result of a call shows itself in notebooks and in image viewers."""

import io

import numpy as np
from PIL import Image


def test_notebooks(with_pictures, explanation):
    data = with_pictures._repr_png_()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(with_pictures.overlay(0)))
    assert explanation._repr_png_() is None


def test_show(with_pictures, monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
    with_pictures.show(1, target=False)
    assert shown == [with_pictures.overlay(1, target=False).size]
