"""Heat on images: colours and opacity, with and without OpenCV."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images import overlay
from mmgrad_explain.images.contours import contour
from mmgrad_explain.images.heat import as_heat
from mmgrad_explain.images.overlay import blend, colorize, fade_in
from mmgrad_explain.images.panels import panel


def _difference(a, b):
    assert np.shape(a) == np.shape(b)
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()


@pytest.mark.parametrize("fade", [True, False])
@pytest.mark.parametrize("options", [{}, {"threshold": 0.4}, {"colormap": "gray"}, {"alpha": 1.0}])
def test_the_same_picture_without_cv2(photo, heat, monkeypatch, fade, options):
    options = options | {"fade": fade}
    fast = blend(photo, heat, **options)
    assert overlay._cv2() is not None
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert overlay._cv2() is None
    assert _difference(blend(photo, heat, **options), fast) <= 1


@pytest.mark.usefixtures("with_or_without_cv2")
def test_fade_leaves_cold_places_alone_and_colours_warm_ones(photo, heat):
    result = blend(photo, heat)
    assert result.shape == photo.shape
    assert result.dtype == np.uint8
    assert (result[80:, 90:] == photo[80:, 90:]).all()
    hottest = colorize(np.ones((1, 1)))[0, 0]
    spot = (int(2.5 / 7 * 90), int(3.5 / 9 * 120))
    assert _difference(result[spot], (photo[spot].astype(float) + hottest) / 2) <= 6


@pytest.mark.usefixtures("with_or_without_cv2")
def test_uniform_blend_is_the_classical_one(photo, heat):
    full = np.asarray(Image.fromarray(heat).resize((120, 90), Image.Resampling.BILINEAR))
    expected = 0.6 * photo + 0.4 * colorize(np.clip(full, 0, 1), "viridis")
    assert _difference(blend(photo, heat, alpha=0.4, colormap="viridis", fade=False), expected) <= 4


@pytest.mark.usefixtures("with_or_without_cv2")
@pytest.mark.parametrize("fade", [True, False])
def test_threshold(photo, heat, fade):
    full = as_heat(heat, (90, 120))
    result = blend(photo, heat, threshold=0.5, fade=fade)
    changed = (result != photo).any(-1)
    assert not changed[full < 0.495].any()
    assert changed[full > 0.7].mean() > 0.95


@pytest.mark.usefixtures("with_or_without_cv2")
def test_alpha_zero_and_one(photo, heat):
    assert (blend(photo, heat, alpha=0) == photo).all()
    assert (blend(photo, heat, alpha=0, fade=False) == photo).all()
    full = as_heat(heat, (90, 120))
    assert _difference(blend(photo, heat, alpha=1, fade=False), colorize(full)) <= 1


@pytest.mark.usefixtures("with_or_without_cv2")
@pytest.mark.parametrize("fade", [True, False])
def test_white_on_white_stays_white(fade):
    steps = np.linspace(0, 1, 64)[None]
    white = np.full((4, 64, 3), 255, np.uint8)
    for alpha in np.linspace(0, 1, 41):
        top = blend(white, steps, alpha=float(alpha), colormap="gray", fade=fade)[:, -1]
        assert (top >= 254).all()


def test_opacity_grows_smoothly():
    steps = np.linspace(0, 1, 256)
    ramp = fade_in(steps)
    assert ramp[0] == 0
    assert ramp[-1] == 1
    assert (np.diff(ramp) >= 0).all()
    assert np.diff(ramp).max() < 0.02
    assert fade_in(np.array([0.05]))[0] < 0.03


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        lambda p: torch.from_numpy(p).permute(2, 0, 1),
        lambda p: torch.from_numpy(p).permute(2, 0, 1) / 255,
        lambda p: torch.from_numpy(p).permute(2, 0, 1).double() / 255,
        lambda p: p.transpose(2, 0, 1),
        lambda p: p / 255,
        lambda p: p.astype(np.float32),
        Image.fromarray,
        lambda p: Image.fromarray(p).convert("RGBA"),
        lambda p: np.concatenate([p, np.full((90, 120, 1), 255, np.uint8)], -1),
        lambda p: p[::-1][::-1],
        np.asfortranarray,
    ],
)
def test_pictures_of_any_kind(photo, heat, convert):
    assert _difference(blend(convert(photo), heat), blend(photo, heat)) <= 1
    assert _difference(contour(convert(photo), heat), contour(photo, heat)) <= 1


def test_pictures_from_a_file_and_gray(tmp_path, photo, heat):
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert (blend(tmp_path / "a.png", heat) == blend(photo, heat)).all()
    assert blend(photo[..., 0], heat).shape == (90, 120, 3)
    with pytest.raises(InputError, match="no such file"):
        blend(tmp_path / "b.png", heat)


def test_the_callers_picture_is_left_alone(photo, heat):
    before = photo.copy()
    blend(photo, heat)
    contour(photo, heat)
    panel([photo, photo])
    assert (photo == before).all()
    result = blend(photo, np.zeros((3, 3)))
    assert not np.shares_memory(result, photo)


@pytest.mark.usefixtures("with_or_without_cv2")
@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 60)] * 4))
def test_any_sizes_go_together(sizes):
    image = np.full((*sizes[:2], 3), 100, np.uint8)
    heat = np.random.default_rng(0).random(sizes[2:])
    assert blend(image, heat).shape == image.shape
    assert contour(image, heat).shape == image.shape


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_out_of_range(photo, heat, alpha):
    with pytest.raises(InputError) as caught:
        blend(photo, heat, alpha=alpha)
    assert str(caught.value) == f"alpha must be in [0, 1], not {alpha}"


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_threshold_out_of_range(photo, heat, threshold):
    with pytest.raises(InputError) as caught:
        blend(photo, heat, threshold=threshold)
    assert str(caught.value) == f"threshold must be in [0, 1), not {threshold}"


def test_import_is_light():
    loaded = "{'torch', 'matplotlib', 'cv2'} & set(sys.modules)"
    code = f"import sys, mmgrad_explain.images.overlay as o; print(sorted({loaded}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"
