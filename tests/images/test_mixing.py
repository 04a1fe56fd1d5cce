"""Blending by OpenCV is the same sum as in NumPy, for any number of rows."""

import cv2
import numpy as np
import pytest

from mmgrad_explain.images.mixing import mix


def table(kept):
    """Added colours and the kept share for each level of heat."""
    levels = np.arange(256)
    added = np.stack([levels // 2, 127 - levels // 2, levels // 4], 1)
    return np.column_stack([added, np.broadcast_to(kept, 256)]).astype(np.uint8)


@pytest.mark.parametrize("height", [1, 32, 75])
@pytest.mark.parametrize("kept", [100, np.arange(255, -1, -1) // 2], ids=["uniform", "by heat"])
def test_each_pixel_is_the_kept_share_and_the_added_colour(height, kept):
    image = np.random.default_rng(0).integers(0, 256, (height, 40, 3), np.uint8)
    heat = np.linspace(0, 1, height * 40, dtype=np.float32).reshape(height, 40)
    before = image.copy()
    result = mix(cv2, image, heat, table(kept))
    chosen = table(kept)[np.rint(heat * 255).astype(int)].astype(float)
    expected = np.minimum(image * chosen[..., 3:] / 255 + chosen[..., :3], 255)
    assert result.dtype == np.uint8
    assert np.abs(result - expected).max() <= 1
    assert np.array_equal(image, before)


def test_heat_is_resized_to_the_image():
    image = np.zeros((64, 96, 3), np.uint8)
    result = mix(cv2, image, np.array([[0, 1]], np.float32), table(255))
    assert result.shape == image.shape
    assert (result[:, :24] == (0, 127, 0)).all()
    assert (result[:, 72:] == (127, 0, 63)).all()
