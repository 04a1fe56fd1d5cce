"""Edits of one object: where they reach, what they look like, what they refuse."""

import time

import cv2
import numpy as np
import pytest

from mmgrad_explain.data.edits.colours import COLOURS, measure_lab_distances, measure_mean_lab
from mmgrad_explain.data.edits.masks import dilate_mask, find_removal_margin
from mmgrad_explain.data.edits.operations import PATTERNS, apply_edit, pick_detail
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.errors import InputError

SIZE = 64


def shaded(rgb, *, contrast=12.0):
    """A textured ground with a disc of one colour that is lit from the left; and the disc's mask."""
    rng = np.random.default_rng(1)
    image = rng.integers(90, 160, (SIZE, SIZE, 3)).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.hypot(x - 34, y - 30) < 18
    light = contrast * (34 - x) / 18 + rng.normal(0, 1.5, (SIZE, SIZE))
    image[mask] = np.asarray(rgb, np.float32) + light[mask, None]
    return np.clip(image, 0, 255).astype(np.uint8), mask


def detail_of(kind, mask):
    giver = np.zeros_like(mask)
    giver[2:10, 2:60] = True
    return {"recolour": "red", "pattern": "stripes", "swap": giver}.get(kind)


GROUNDS = {"dark": (25, 25, 28), "white": (238, 238, 238), "gray": (128, 128, 128), "red": (190, 30, 40)}


@pytest.mark.parametrize("kind", EDIT_KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_nothing_changes_outside(kind, soft):
    image, mask = shaded((200, 90, 60))
    given = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1) if soft else mask
    before = image.copy()
    edited = apply_edit(kind, image, given, detail_of(kind, mask), np.random.default_rng(0))
    assert (image == before).all()
    assert edited.shape == image.shape
    assert edited.dtype == np.uint8
    reach = given > 0 if kind not in ("remove", "add") else dilate_mask(given >= 0.5, find_removal_margin(mask))
    assert (edited[~reach] == image[~reach]).all()
    assert (edited[mask] != image[mask]).any(1).mean() > 0.3


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("word", COLOURS)
def test_a_recoloured_object_goes_by_its_new_colour(ground, word):
    image, mask = shaded(GROUNDS[ground])
    edited = apply_edit("recolour", image, mask, word, np.random.default_rng(3))
    distances = measure_lab_distances(edited, mask)
    assert min(distances, key=distances.__getitem__) == word
    assert distances[word] < 14


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("word", COLOURS)
def test_shading_can_still_be_seen(ground, word):
    image, mask = shaded(GROUNDS[ground])
    edited = apply_edit("recolour", image, mask, word, np.random.default_rng(3))
    left, right = mask.copy(), mask.copy()
    left[:, 30:], right[:, :38] = False, False
    assert measure_mean_lab(edited, left)[0] - measure_mean_lab(edited, right)[0] > 2.5


def test_the_edge_is_softened_within_the_mask():
    image, mask = shaded((128, 128, 128), contrast=0)
    edited = apply_edit("recolour", image, mask, "white", np.random.default_rng(0))
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    edge = mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    assert image[inner].mean() < edited[edge].mean() < edited[inner].mean()


def test_darken_brighten_and_gray():
    image, mask = shaded((170, 80, 60))
    was = measure_mean_lab(image, mask)
    assert measure_mean_lab(apply_edit("darken", image, mask), mask)[0] < was[0] - 15
    assert measure_mean_lab(apply_edit("brighten", image, mask), mask)[0] > was[0] + 10
    gray = measure_mean_lab(apply_edit("gray", image, mask), mask)
    assert abs(gray[0] - was[0]) < 2
    assert np.hypot(*gray[1:]) < 3 < np.hypot(*was[1:])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_patterns_cover_a_part_and_stand_out(pattern, ground):
    image, mask = shaded(GROUNDS[ground])
    for seed in range(6):
        edited = apply_edit("pattern", image, mask, pattern, np.random.default_rng(seed))
        changed = np.abs(edited.astype(int) - image).sum(2) > 60
        assert 0.15 < changed[mask].mean() < 0.75


def test_blur_takes_nothing_from_outside():
    image, mask = shaded((10, 10, 10))
    image[~mask] = 255
    edited = apply_edit("blur", image, mask)
    assert edited[mask].max() <= image[mask].max() + 1
    assert edited[mask].std() < image[mask].std()


def test_removal_takes_the_surroundings():
    image, mask = shaded((250, 0, 0))
    for kind in ("remove", "add"):
        edited = apply_edit(kind, image, mask)
        assert np.abs(measure_mean_lab(edited, mask) - measure_mean_lab(image, ~mask)).max() < 12
    with pytest.raises(InputError, match="mask covers the whole image"):
        apply_edit("remove", image, np.ones_like(mask))


def test_swap_brings_colour_and_texture():
    image, mask = shaded((60, 60, 200))
    giver = np.zeros_like(mask)
    giver[50:62, 4:60] = True
    giver &= ~mask
    image[giver] = (220, 200, 40)
    image[50:62:4] = np.where(giver[50:62:4, :, None], (150, 20, 20), image[50:62:4])
    edited = apply_edit("swap", image, mask, giver)
    assert np.abs(measure_mean_lab(edited, mask) - measure_mean_lab(image, giver))[1:].max() < 6
    plain = apply_edit("swap", image, mask, giver & (np.arange(SIZE)[:, None] == 51))  # too thin to have a texture
    assert edited[mask].std(0).sum() > plain[mask].std(0).sum() + 5


def test_equal_seeds_give_equal_edits():
    image, mask = shaded((170, 80, 60))
    for kind in EDIT_KINDS:
        detail = detail_of(kind, mask)
        first, again, default = (
            apply_edit(kind, image, mask, detail, rng)
            for rng in (np.random.default_rng(0), np.random.default_rng(0), None)
        )
        assert (first == again).all()
        assert (first == default).all()


def test_picked_details_make_a_difference():
    image, mask = shaded(GROUNDS["red"])
    rng = np.random.default_rng(0)
    words = {pick_detail(rng, "recolour", image, mask) for _ in range(200)}
    assert words >= {"blue", "green", "white", "black"}
    assert "red" not in words
    assert len({pick_detail(rng, "recolour", image, mask, distance=1000.0) for _ in range(20)}) == 1
    assert {pick_detail(rng, "pattern", image, mask) for _ in range(50)} == set(PATTERNS)
    assert pick_detail(rng, "darken", image, mask) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "recolor"}, InputError, "unknown kind of edit 'recolor': did you mean 'recolour'"),
        ({"image": np.zeros((8, 8, 3))}, TypeError, "image must be a uint8 array"),
        (
            {"image": np.zeros((8, 8), np.uint8)},
            InputError,
            r"image must have shape \(height, width, 3\), not \(8, 8\)",
        ),
        ({"mask": np.ones((4, 8), bool)}, InputError, r"mask must have the image's shape \(8, 8\), not \(4, 8\)"),
        ({"mask": np.ones((8, 8), np.uint8)}, TypeError, "mask must be a bool or float array"),
        ({"mask": np.zeros((8, 8), bool)}, InputError, "mask is empty"),
        ({"detail": "redd"}, InputError, "detail must be a colour word, not 'redd': did you mean 'red'"),
        ({"detail": None}, InputError, "detail must be a colour word, not None: use red, orange"),
        ({"kind": "pattern", "detail": "stripe"}, InputError, "detail must be a pattern, not 'stripe': did you mean"),
        ({"kind": "swap"}, InputError, "detail must be the mask of the object whose look is taken"),
        ({"kind": "swap", "detail": np.zeros((8, 8), bool)}, InputError, "detail is empty"),
    ],
)
def test_refusals(change, error, message):
    call = {
        "kind": "recolour", "image": np.zeros((8, 8, 3), np.uint8), "mask": np.ones((8, 8), bool), "detail": "red",
    }  # fmt: skip
    with pytest.raises(error, match=message):
        apply_edit(**{**call, **change})


def test_a_small_recolour_is_quick():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (192, 192, 3), dtype=np.uint8)
    mask = np.zeros((192, 192), bool)
    mask[40:120, 50:100] = True
    start = time.process_time()
    for _ in range(50):
        apply_edit("recolour", image, mask, "red", rng)
    assert (time.process_time() - start) / 50 < 0.004  # seconds; a core that is free takes a fifth of it
