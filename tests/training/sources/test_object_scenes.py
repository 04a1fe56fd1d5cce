"""Photographs with pasted objects."""

import numpy as np
import pytest

from mmgrad_explain.training.sources.object_scenes import (
    Cutout,
    Scene,
    Thing,
    cut_out,
    draw_place,
    find_components,
    is_free,
    mirrored,
    paste,
)

VIEW = np.ones((40, 40), bool)
GROUND = np.zeros((40, 40, 3), np.uint8)


def square(label=1, value=200, side=10):
    return Cutout(label, np.full((side, side, 3), value, np.uint8), np.ones((side, side), np.float32))


def scene(*pasted, own=()):
    things = tuple(Thing(cutout.label, VIEW, cutout, place) for cutout, place in pasted)
    return Scene(GROUND, np.zeros((40, 40), np.uint8), tuple(own), things, VIEW)


def test_components_of_a_label_are_apart_and_small_ones_left_out():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:6, 2:6], labels[12:16, 12:16], labels[0, 19], labels[9:11] = 1, 1, 1, 2
    found = find_components(labels, np.array([False, True, False]), 6)
    assert [(label, int(mask.sum())) for label, mask in found] == [(1, 16), (1, 16)]


def test_a_cut_out_leaves_the_ground_behind():
    photo, mask = np.full((20, 30, 3), 9, np.uint8), np.zeros((20, 30), bool)
    mask[5:15, 8:20] = True
    photo[mask] = 200
    cutout = cut_out(photo, mask, 3)
    assert cutout.label == 3
    assert cutout.alpha.shape == (10, 12)
    assert cutout.alpha[5, 6] == 1
    assert cutout.alpha[0, 0] < 0.5


def test_a_large_cut_out_is_shrunk():
    assert max(cut_out(np.zeros((90, 50, 3), np.uint8), np.ones((90, 50), bool), 1, largest=30).alpha.shape) == 30


def test_mirrored_twice_is_as_before():
    cutout = Cutout(1, np.arange(24, dtype=np.uint8).reshape(2, 4, 3), np.arange(8, dtype=np.float32).reshape(2, 4))
    assert np.array_equal(mirrored(mirrored(cutout)).pixels, cutout.pixels)
    assert not np.array_equal(mirrored(cutout).alpha, cutout.alpha)


def test_it_is_pasted_where_and_as_large_as_asked():
    image, alpha = paste(GROUND, square(), (20, 10, 20), VIEW)
    assert np.argwhere(alpha > 0.5).min(0).tolist() == [10, 0]
    assert (alpha > 0.5).sum() == 400
    assert (image[alpha > 0.5] == 200).all()
    assert (image[alpha == 0] == 0).all()
    assert not GROUND.any()


def test_bars_are_not_painted_over():
    view = VIEW.copy()
    view[:, :5] = False
    assert not paste(GROUND, square(), (20, 5, 10), view)[1][:, :5].any()


def test_a_place_beyond_the_image_shows_nothing():
    assert not paste(GROUND, square(), (200, 200, 10), VIEW)[1].any()


def test_a_later_object_covers_an_earlier_one():
    image, labels, things = scene((square(1, 50), (20, 20, 20)), (square(2, 250), (20, 26, 10))).render()
    assert [thing.label for thing in things] == [1, 2]
    assert things[1].mask.sum() == 100
    assert not (things[0].mask & things[1].mask).any()
    assert np.array_equal(labels == 2, things[1].mask)
    assert np.array_equal(labels == 1, things[0].mask)
    assert (image[things[0].mask] == 50).all()


def test_it_covers_the_photographs_own_objects():
    own = Thing(3, VIEW)
    assert scene((square(), (20, 20, 10)), own=[own]).render()[2][0].mask.sum() == 1500


def test_there_is_no_room_where_an_object_would_be_hidden():
    mask = np.zeros((40, 40), bool)
    mask[:4, :4] = True
    alpha = np.zeros((40, 40), np.float32)
    assert not is_free(alpha, [])
    alpha[:8, :8] = 1
    assert is_free(alpha, [Thing(1, ~mask)])
    assert not is_free(alpha, [Thing(1, mask)])


@pytest.mark.parametrize("areas", [(0.01, 0.02), (0.2, 0.3)])
def test_places_have_the_wanted_area_and_lie_inside(areas):
    rng = np.random.default_rng(0)
    for _ in range(40):
        row, column, height = draw_place(rng, square(), VIEW, areas)
        assert areas[0] * 0.99 <= height**2 / 1600 <= areas[1] * 1.01
        assert 0 < row < 40
        assert 0 < column < 40
