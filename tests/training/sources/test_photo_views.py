"""Crops, letterboxing and light of photographs."""

import numpy as np

from mmgrad_explain.training.sources.photo_views import crop, letterbox, relight


def test_crops():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (6, 4, 3), dtype=np.uint8)
    labels = np.ones((6, 4), np.uint8)
    inside = crop(photo, labels, (1, 2, 2, 3), rng)
    assert np.array_equal(inside[0], photo[2:5, 1:3])
    beyond, ground = crop(photo, labels, (-2, -1, 8, 9), rng)
    assert np.array_equal(beyond[1:7, 2:6], photo)
    assert ground.sum() == 24
    assert len(np.unique(beyond[ground == 0], axis=0)) == 1


def test_the_letterbox_puts_labels_where_the_image_is():
    photo = np.full((20, 10, 3), 200, np.uint8)
    picture, labels = letterbox(photo, np.ones((20, 10), np.uint8), 16)
    assert np.array_equal(labels == 1, (picture == 200).all(-1))
    assert (labels[:, :4] == 255).all()


def test_light_is_the_same_for_all_images_of_a_photograph():
    picture = np.full((8, 8, 3), 100, np.uint8)
    bars = np.zeros((8, 8), bool)
    bars[:, 0] = True
    rng = np.random.default_rng(3)
    first, second = relight([picture, picture], bars, 1.0, rng)
    assert (first[:, 0] == 127).all()
    assert abs(first[:, 1:].mean() - second[:, 1:].mean()) < 2
    assert not np.array_equal(first, second)
    assert relight([picture], bars, 0.0, rng)[0] is picture
