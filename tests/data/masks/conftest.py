"""A drawn photograph, and changed copies of it."""

import numpy as np
import pytest


def draw(seed, height=120, width=160):
    """Draw textured shapes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


@pytest.fixture
def photo():
    return draw(0)


@pytest.fixture
def other_photo():
    return draw(1)


@pytest.fixture
def recoloured(photo):
    """The photograph with another colour in rows 40 to 80, columns 48 to 96."""
    changed = photo.copy()
    changed[40:80, 48:96] = (changed[40:80, 48:96] * (0.2, 0.9, 0.2)).astype(np.uint8)
    return changed
