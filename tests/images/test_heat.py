"""Heat from arrays, tensors and images; what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.heat import as_heat
from mmgrad_explain.images.overlay import blend, colorize


def _difference(a, b):
    assert np.shape(a) == np.shape(b)
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()


@pytest.mark.parametrize(
    "convert",
    [
        lambda h: h,
        lambda h: h.astype(np.float64),
        lambda h: h.astype(np.float16),
        torch.from_numpy,
        lambda h: torch.from_numpy(h)[None],
        lambda h: torch.from_numpy(h).half(),
        lambda h: torch.from_numpy(h).bfloat16(),
        lambda h: torch.from_numpy(h).requires_grad_(),
        lambda h: (h * 255).round().astype(np.uint8),
        lambda h: Image.fromarray((h * 255).round().astype(np.uint8)),
    ],
)
def test_heat_of_any_kind(photo, heat, convert):
    assert _difference(colorize(convert(heat), "gray"), colorize(heat, "gray")) <= 2
    assert _difference(blend(photo, convert(heat)), blend(photo, heat)) <= 6


def test_nan_counts_as_zero_and_the_callers_heat_is_left_alone(heat):
    heat[0, 0] = np.nan
    before = heat.copy()
    assert (colorize(heat, "gray")[0, 0] == 0).all()
    assert (colorize(np.full((2, 2), np.nan)) == colorize(np.zeros((2, 2)))).all()
    np.testing.assert_array_equal(heat, before)


def test_bool_heat():
    assert colorize(np.array([[False, True]]), "gray")[0].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("draw", [colorize, lambda h: blend(np.zeros((4, 4, 3), np.uint8), h)])
@pytest.mark.parametrize(
    ("heat", "message"),
    [
        (np.array([[0.0, 37.5]]), r"heat must be in \[0, 1\], not from 0 to 37.5: divide it by its maximum first"),
        (np.array([[-0.5, 0.5]]), "not from -0.5 to 0.5"),
        (np.array([[0.0, np.inf]]), r"heat must be in \[0, 1\]"),
        (np.zeros((2, 3, 4)), r"heat has shape \(h, w\) and is not empty, not \(2, 3, 4\)"),
        (np.zeros((0, 4)), r"not \(0, 4\)"),
        (np.zeros(4), r"not \(4,\)"),
    ],
)
def test_heat_that_is_none(draw, heat, message):
    with pytest.raises(InputError, match=message):
        draw(heat)


def test_heat_of_a_wrong_type(photo):
    with pytest.raises(TypeError, match="expected an array, a tensor or a PIL image, not list"):
        blend(photo, [[0.5]])


def test_heat_is_resized_as_torch_does(heat):
    expected = torch.nn.functional.interpolate(torch.from_numpy(heat)[None, None], (90, 120), mode="bilinear")[0, 0]
    np.testing.assert_allclose(as_heat(heat, (90, 120)), expected.numpy(), atol=1e-5)
