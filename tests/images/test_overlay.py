"""Heat on photographs: colours, opacity, outlines and panels, with and without OpenCV."""

import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from mmgrad_explain.errors import InputError
from mmgrad_explain.images import overlay
from mmgrad_explain.images.overlay import blend, colorbar, colorize, contour, panel

COLORMAPS = ["turbo", "jet", "viridis", "magma", "inferno", "plasma", "gray", "hot"]


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


def _difference(a, b):
    assert np.shape(a) == np.shape(b)
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()


# Colours.


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


# Blending.


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
    full = overlay._heat(heat, (90, 120))
    result = blend(photo, heat, threshold=0.5, fade=fade)
    changed = (result != photo).any(-1)
    assert not changed[full < 0.495].any()
    assert changed[full > 0.7].mean() > 0.95


@pytest.mark.usefixtures("with_or_without_cv2")
def test_alpha_zero_and_one(photo, heat):
    assert (blend(photo, heat, alpha=0) == photo).all()
    assert (blend(photo, heat, alpha=0, fade=False) == photo).all()
    full = overlay._heat(heat, (90, 120))
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
    ramp = overlay._ramp(steps)
    assert ramp[0] == 0
    assert ramp[-1] == 1
    assert (np.diff(ramp) >= 0).all()
    assert np.diff(ramp).max() < 0.02
    assert overlay._ramp(np.array([0.05]))[0] < 0.03


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


def test_heat_is_resized_as_torch_does(heat):
    expected = torch.nn.functional.interpolate(torch.from_numpy(heat)[None, None], (90, 120), mode="bilinear")[0, 0]
    np.testing.assert_allclose(overlay._heat(heat, (90, 120)), expected.numpy(), atol=1e-5)


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


# Outlines.


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


# Panels.


def _ink(sheet, box):
    return np.abs(np.asarray(sheet.crop(box)).astype(int) - sheet.getpixel((0, 0))).max()


def test_panel_shows_its_tiles_in_order():
    tiles = [Image.new("RGB", (400, 400), color) for color in ("red", "lime", "blue")]
    sheet = panel(tiles)
    assert sheet.mode == "RGB"
    middle = np.asarray(sheet)[200]
    found = [np.flatnonzero((middle == color).all(-1)) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert [len(columns) for columns in found] == [400, 400, 400]
    assert found[0][-1] < found[1][0]
    assert found[1][-1] < found[2][0]
    assert sheet.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("side", "options", "expected"),
    [(96, {}, 320), (500, {}, 500), (3000, {}, 1024), (96, {"height": 100}, 100), (500, {"height": 100}, 100)],
)
def test_panel_height(side, options, expected):
    sheet = panel([Image.new("RGB", (side, side), "red"), np.zeros((50, 50, 3), np.uint8)], **options)
    array = np.asarray(sheet)
    assert (array == (255, 0, 0)).all(-1).any(1).sum() == expected
    assert (array == 0).all(-1).any(1).sum() == expected


def test_panel_of_extreme_shapes():
    sheet = panel([Image.new("RGB", (4000, 3), "red"), Image.new("RGB", (3, 4000), "blue"), Image.new("RGB", (1, 1))])
    assert sheet.width < 3 * 1024 + 3 * 1024
    assert (np.asarray(sheet) == (255, 0, 0)).all(-1).any()
    assert (np.asarray(sheet) == (0, 0, 255)).all(-1).any()


def test_captions_are_below_their_tiles_and_the_title_above():
    tiles = [Image.new("RGB", (320, 320), "white")] * 2
    plain = panel(tiles)
    sheet = panel(tiles, ["", "right"])
    assert sheet.height > plain.height
    assert sheet.crop((0, 0, sheet.width, 330)).tobytes() == plain.crop((0, 0, plain.width, 330)).tobytes()
    assert _ink(sheet, (0, 336, sheet.width // 2, sheet.height)) == 0
    assert _ink(sheet, (sheet.width // 2, 336, sheet.width, sheet.height)) > 100
    titled = panel(tiles, title="Where it looked")
    assert titled.height > plain.height
    assert _ink(titled, (0, 0, titled.width, titled.height - plain.height)) > 100


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 20, 24)])
def test_letters_can_be_read_on_any_ground(background):
    sheet = panel([Image.new("RGB", (320, 320), background)], ["caption"], background=background, title="title")
    assert sheet.getpixel((0, 0)) == background
    assert _ink(sheet, (0, 370, sheet.width, sheet.height)) > 100


@pytest.mark.parametrize(
    "caption",
    [
        "make it red",
        "Überraschung ñandú Ελληνικά Привет 日本語 \U0001f642",
        "مرحبا",
        "a\nb\tc",
        "x" * 5000,
        "w " * 3000,
        " ",
    ],
)
def test_captions_of_any_text(caption):
    tile = Image.new("RGB", (320, 320), "white")
    sheet = panel([tile, tile], [caption, "short"], title=caption)
    assert sheet.width == panel([tile, tile]).width
    assert sheet.height < 600
    assert _ink(sheet, (0, 0, 5, sheet.height)) == 0
    assert _ink(sheet, (sheet.width - 5, 0, sheet.width, sheet.height)) == 0


def test_wrapping():
    font = overlay._font(14)
    text = "move the red ball to the left of the wooden bench and remove the dog"
    lines = overlay._wrap(text, font, 150, 3)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 150 for line in lines)
    assert lines[0] + " " + lines[1] == text[: len(lines[0]) + 1 + len(lines[1])]
    assert lines[2].endswith("…")
    assert overlay._wrap(text, font, 1000, 3) == [text]
    assert "".join(overlay._wrap("x" * 30, font, 100, 9)) == "x" * 30
    assert overlay._wrap("  ", font, 100, 3) == []
    assert overlay._wrap("abc", font, 1, 3) == ["a", "b", "c"]


def test_letters_without_matplotlib(monkeypatch):
    overlay._font.cache_clear()
    monkeypatch.setattr(overlay.importlib.util, "find_spec", lambda name: None)
    assert isinstance(overlay._font(14), ImageFont.FreeTypeFont)
    assert panel([Image.new("RGB", (9, 9))], ["caption"]).height > 320
    overlay._font.cache_clear()


def test_panel_takes_what_the_others_give(photo, heat):
    tiles = [photo, blend(photo, heat), torch.rand(3, 8, 8), colorize(heat), Image.new("L", (5, 5))]
    assert panel(tiles, ["a", "b", "c", "d", "e"]).height > 320


@pytest.mark.parametrize(
    ("tiles", "captions", "message"),
    [
        ([], None, "a panel needs tiles and a caption for each: 0 tiles, 0 captions"),
        ([np.zeros((2, 2, 3), np.uint8)], ["a", "b"], "1 tiles, 2 captions"),
    ],
)
def test_panel_without_tiles_or_captions(tiles, captions, message):
    with pytest.raises(InputError, match=message):
        panel(tiles, captions)


def test_panel_height_must_be_positive():
    with pytest.raises(InputError, match="height must be positive, not 0"):
        panel([np.zeros((2, 2, 3), np.uint8)], height=0)


def test_colorbar():
    bar = np.asarray(colorbar("gray", 300)).astype(int)
    assert bar.shape == (30, 300, 3)
    strip = bar[15, 60:240, 0]
    assert (np.diff(strip) >= 0).all()
    assert np.ptp(strip) > 200
    assert (bar[0] == 255).all()
    with pytest.raises(InputError, match="a colorbar 20 pixels wide has no room between 'low' and 'high'"):
        colorbar(width=20)


def test_import_is_light():
    loaded = "{'torch', 'matplotlib', 'cv2'} & set(sys.modules)"
    code = f"import sys, mmgrad_explain.images.overlay as o; print(sorted({loaded}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"
