"""The camera: one photograph of a scene and of its changed versions."""

import numpy as np
import pytest

from mmgrad_explain.data.scenes.camera import grow_box, photograph

BOX = (slice(20, 30), slice(24, 40))


def versions(size=64):
    plain = np.random.default_rng(1).uniform(60, 180, (size, size, 3)).astype(np.float32)
    changed = plain.copy()
    changed[BOX] = 20
    return plain, changed


@pytest.mark.parametrize("seed", range(12))
def test_without_noise_only_the_changed_box_and_its_blur_differ(seed):
    plain, changed = versions()
    first, second = photograph(np.random.default_rng(seed), plain, [(changed, BOX)], noise=False)
    assert first.shape == plain.shape
    assert first.dtype == np.uint8
    different = (first != second).any(2)
    assert different[BOX].any()
    different[grow_box(BOX, 3, 64)] = False
    assert not different.any()


@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_photographed_as_the_whole_image_would_be(seed):
    plain, changed = versions()
    everything = (slice(0, 64), slice(0, 64))
    part, whole = (
        photograph(np.random.default_rng(seed), plain, [(changed, box)], noise=False)[1] for box in (BOX, everything)
    )
    assert np.abs(part.astype(int) - whole).max() <= 1


def test_noise_differs_between_images():
    plain, _ = versions()
    noisy = 0
    for seed in range(12):
        first, second = photograph(np.random.default_rng(seed), plain, [(plain, BOX)], noise=True)
        noisy += not np.array_equal(first, second)
    assert noisy > 6


def test_boxes_grow_within_the_image():
    assert grow_box((slice(1, 5), slice(3, 9)), 2, 10) == (slice(0, 7), slice(1, 10))
    assert grow_box(BOX, 0, 64) == BOX
