"""An image, heat to lay on it, and OpenCV present or missing."""

import sys

import numpy as np
import pytest


@pytest.fixture
def photo():
    """A smooth picture with some texture, not square."""
    y, x = np.mgrid[:90, :120]
    rgb = np.stack([y * 2, x * 2, 255 - y - x], -1) + np.random.default_rng(0).integers(-10, 10, (90, 120, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.fixture
def heat():
    """One warm hill in the upper left of a 7 x 9 grid, exactly 0 far from it and exactly 1 on top."""
    y, x = np.mgrid[:7, :9]
    return np.clip(1.1 - np.hypot(y - 2, x - 3) / 3, 0, 1).astype(np.float32)


@pytest.fixture(params=["cv2", "no cv2", "half of cv2"])
def with_or_without_cv2(request, monkeypatch):
    if request.param == "no cv2":
        monkeypatch.setitem(sys.modules, "cv2", None)
    elif request.param == "half of cv2":
        monkeypatch.setitem(sys.modules, "cv2", type(sys)("cv2"))
