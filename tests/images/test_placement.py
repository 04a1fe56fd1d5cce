"""Images brought to a model's input, and maps carried back to their pixels."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement, fit

MODES = ["stretch", "crop", "letterbox"]


@st.composite
def _pictures(draw):
    height = draw(st.integers(1, 900))
    width = draw(st.integers(1, 900))
    size = (draw(st.integers(8, 96)), draw(st.integers(8, 96)))
    grid = tuple(draw(st.integers(1, side // 4)) for side in size)  # cells larger than the bright patch
    at = (draw(st.floats(0, 1)), draw(st.floats(0, 1)))
    return height, width, size, grid, at, draw(st.sampled_from(MODES)), draw(st.sampled_from(["bicubic", "bilinear"]))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(_pictures())
def test_a_bright_patch_comes_back_to_where_it_was(picture):
    height, width, size, grid, at, mode, resample = picture
    placement = fit(Image.new("RGB", (width, height)), size, mode)[1]
    seen = [np.flatnonzero(placement.seen().any(axis=1 - axis)) for axis in (0, 1)]
    assume(all(len(axis) for axis in seen))
    center = [int(axis[round(part * (len(axis) - 1))]) for axis, part in zip(seen, at, strict=True)]
    # A patch about as large as three input pixels, whole inside what the model sees.
    reach = [int(1.5 / scale) for scale in placement.scale]
    patch = [slice(c - r, c + r + 1) for c, r in zip(center, reach, strict=True)]
    assume(all(p.start >= axis[0] and p.stop - 1 <= axis[-1] for p, axis in zip(patch, seen, strict=True)))
    array = np.zeros((height, width, 3), np.uint8)
    array[patch[0], patch[1]] = 255
    given_to_model, placement = fit(Image.fromarray(array), size, mode, fill=(0, 0, 0), resample=resample)
    assert given_to_model.size == size[::-1]
    assert placement.original == (height, width)
    found = Placement(size, size, (1.0, 1.0), (0.0, 0.0)).to_input(np.asarray(given_to_model)[..., 0], grid)
    peak = np.unravel_index(found.argmax(), grid)
    one_hot = np.zeros(grid, np.float32)
    one_hot[peak] = 1
    back = placement.to_original(one_hot)
    highest = np.argwhere(back >= back.max() - 1e-6)
    for axis in (0, 1):
        cell = size[axis] / grid[axis] / placement.scale[axis]  # in original pixels
        assert np.abs(highest[:, axis] - center[axis]).min() <= cell / 2 + max(1, 0.51 / placement.scale[axis])


@settings(max_examples=80, deadline=None)
@given(_pictures())
def test_a_linear_ramp_is_reproduced(picture):
    height, width, size, grid, _, mode, _ = picture
    placement = fit(Image.new("RGB", (width, height)), size, mode)[1]
    centers = [
        ((np.arange(grid[axis]) + 0.5) * size[axis] / grid[axis] - placement.offset[axis])
        / placement.scale[axis]
        / placement.original[axis]
        for axis in (0, 1)
    ]
    pixels = [(np.arange(n) + 0.5) / n for n in placement.original]
    back = placement.to_original((centers[0][:, None] + 2 * centers[1]).astype(np.float32))
    inner = np.ix_(*((p >= c[0]) & (p <= c[-1]) for p, c in zip(pixels, centers, strict=True)))
    span = 1 + max(np.abs(c).max() for c in centers)
    assert np.abs(back - (pixels[0][:, None] + 2 * pixels[1]))[inner].max(initial=0) <= 1e-5 * span


@settings(max_examples=80, deadline=None)
@given(_pictures())
def test_unseen_is_zero_and_a_constant_is_constant(picture):
    height, width, size, grid, _, mode, _ = picture
    placement = fit(Image.new("RGB", (width, height)), size, mode)[1]
    seen = placement.seen()
    assert seen.shape == (height, width)
    back = placement.to_original(np.full(grid, 0.3, np.float32))
    assert (back[seen] == np.float32(0.3)).all()
    assert (back[~seen] == 0).all()
    if mode != "crop":
        assert seen.all()


def test_identity_is_lossless(photo):
    values = np.random.default_rng(0).random((37, 53), dtype=np.float32)
    placement = fit(Image.new("RGB", (53, 37)), (37, 53), "stretch")[1]
    assert (placement.to_original(values) == values).all()
    assert (placement.to_input(values) == values).all()
    for mode in MODES:
        assert (np.asarray(fit(Image.fromarray(photo), (90, 120), mode)[0]) == photo).all()


def test_agrees_with_torch_interpolate():
    values = torch.rand(7, 5)
    expected = torch.nn.functional.interpolate(values[None, None], (60, 81), mode="bilinear", align_corners=False)
    placement = fit(Image.new("RGB", (81, 60)), 64, "stretch")[1]
    np.testing.assert_allclose(placement.to_original(values.numpy()), expected[0, 0].numpy(), atol=1e-5)
    assert (placement.to_original(values) == placement.to_original(values.numpy())).all()


def test_to_original_replicates_at_the_inputs_border():
    placement = Placement((100, 100), (10, 10), (0.1, 0.1), (0.0, 0.0))
    back = placement.to_original(np.array([[1.0, 3.0]]))
    assert (back[:, :25] == 1).all()
    assert (back[:, 75:] == 3).all()


def test_a_huge_picture_and_back():
    placement = fit(Image.new("RGB", (4000, 3000)), 224)[1]
    back = placement.to_original(np.eye(24, dtype=np.float32))
    assert back.shape == (3000, 4000)
    assert back.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 4000), (4000, 3), (2, 1), (500, 1), (224, 224), (225, 223)])
def test_extreme_shapes(mode, shape):
    image, placement = fit(Image.new("RGB", shape[::-1], (9, 99, 199)), (224, 200), mode)
    assert image.size == (200, 224)
    assert (np.asarray(image)[110:114, 98:102] == (9, 99, 199)).all(-1).any()
    back = placement.to_original(np.ones((7, 7)))
    assert back.shape == shape
    assert back[shape[0] // 2, shape[1] // 2] == 1
    assert placement.to_input(np.ones(shape)).max() == pytest.approx(1, abs=1e-5)


def test_crop_is_resize_and_cut():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 200, 3), dtype=np.uint8))
    cropped, placement = fit(image, 45, "crop")
    by_hand = image.resize((100, 45), Image.Resampling.BICUBIC).crop((27, 0, 72, 45))
    left = -placement.offset[1]
    assert left == 28
    exact = np.asarray(image.resize((100, 45), Image.Resampling.BICUBIC).crop((28, 0, 73, 45))).astype(int)
    assert np.abs(np.asarray(cropped) - exact).max() <= 1
    assert np.abs(np.asarray(by_hand).astype(int) - np.asarray(cropped)).max() > 1


def test_letterbox_shows_all_and_pads_evenly():
    image, placement = fit(Image.new("RGB", (200, 100), "red"), 64, fill=(1, 2, 3))
    array = np.asarray(image)
    assert (array[:16] == (1, 2, 3)).all()
    assert (array[16:48] == (255, 0, 0)).all()
    assert (array[48:] == (1, 2, 3)).all()
    assert placement == Placement((100, 200), (64, 64), (0.32, 0.32), (16.0, 0.0))


def test_to_input_averages_areas_and_counts_padding_as_zero():
    _, placement = fit(Image.new("RGB", (200, 100)), 64)
    mask = np.zeros((100, 200), bool)
    mask[:, :100] = True
    np.testing.assert_allclose(placement.to_input(mask, (2, 2)), [[0.5, 0.0], [0.5, 0.0]], atol=1e-6)
    full = placement.to_input(mask)
    assert full.shape == (64, 64)
    np.testing.assert_allclose(full[16:48, :32], 1, atol=1e-6)
    assert full.sum() == pytest.approx(mask.sum() * 0.32**2, rel=1e-5)
    np.testing.assert_allclose(placement.to_input(torch.from_numpy(mask)), full)


@settings(max_examples=40, deadline=None)
@given(_pictures())
def test_to_input_undoes_to_original_on_the_cells(picture):
    height, width, size, _, _, mode, _ = picture
    placement = fit(Image.new("RGB", (width, height)), size, mode)[1]
    mask = np.random.default_rng(0).random((height, width)).astype(np.float32)
    share = np.prod(placement.scale) / np.prod(size)
    averaged = placement.to_input(mask, (3, 5))
    if mode != "crop":  # nothing of the picture's mass is lost
        assert averaged.mean() == pytest.approx(mask.sum() * share, rel=1e-3)
    assert averaged.max() <= 1 + 1e-5


def test_to_input_of_to_original_is_nearly_the_map():
    y, x = np.mgrid[:16, :16] / 15
    values = np.sin(3 * y) * np.cos(2 * x)
    placement = fit(Image.new("RGB", (800, 600)), 224, "stretch")[1]
    assert np.abs(placement.to_input(placement.to_original(values), (16, 16)) - values).max() < 0.03


def test_placement_by_way_of_json():
    placement = fit(Image.new("RGB", (333, 77)), (224, 192), "crop")[1]
    assert Placement.from_dict(json.loads(json.dumps(placement.to_dict()))) == placement
    with pytest.raises(InputError, match=r"needs the pairs original, input, scale and offset: KeyError\('offset'\)"):
        Placement.from_dict({"original": [1, 2], "input": [1, 2], "scale": [1, 1]})
    with pytest.raises(InputError, match="needs the pairs"):
        Placement.from_dict({"original": 3})
    with pytest.raises(InputError, match="needs the pairs"):
        Placement.from_dict({"original": ["a", "b"], "input": [1, 2], "scale": [1, 1], "offset": [0, 0]})


@pytest.mark.parametrize(
    "fields",
    [
        {"original": (0, 5)},
        {"input": (5,)},
        {"scale": (1.0, 0.0)},
        {"scale": (1.0, float("nan"))},
        {"offset": (0.0, float("inf"))},
    ],
)
def test_placement_refuses_nonsense(fields):
    good = {"original": (4, 5), "input": (4, 5), "scale": (1.0, 1.0), "offset": (0.0, -1.0)}
    Placement(**good)
    with pytest.raises(InputError, match=f"a placement's {next(iter(fields))} is a pair of finite numbers"):
        Placement(**(good | fields))


def test_placement_checks_maps():
    placement = Placement((4, 5), (4, 5), (1.0, 1.0), (0.0, 0.0))
    with pytest.raises(InputError, match=r"a map has shape \(height, width\) and is not empty, not \(1, 2, 3\)"):
        placement.to_original(np.zeros((1, 2, 3)))
    with pytest.raises(InputError, match="is not empty"):
        placement.to_original(np.zeros((0, 3)))
    with pytest.raises(InputError, match=r"expected shape \(4, 5\) and a positive size, not \(5, 4\) and None"):
        placement.to_input(np.zeros((5, 4)))
    with pytest.raises(InputError, match=r"not \(4, 5\) and \(0, 3\)"):
        placement.to_input(np.zeros((4, 5)), (0, 3))


def test_fit_refuses_what_it_does_not_know():
    image = Image.new("RGB", (4, 4))
    with pytest.raises(InputError, match="mode must be 'stretch', 'crop' or 'letterbox', not 'squash'"):
        fit(image, 8, "squash")
    with pytest.raises(InputError, match="resample must be 'bicubic' or 'bilinear', not 'nearest'"):
        fit(image, 8, resample="nearest")
    with pytest.raises(InputError, match="size must be positive, not 0"):
        fit(image, 0)
    with pytest.raises(TypeError, match="not int"):
        fit(3, 8)


def test_fit_reads_other_modes():
    assert (np.asarray(fit(Image.new("RGBA", (6, 6), (0, 0, 0, 0)), 6)[0]) == np.full((6, 6, 3), 255)).all()
