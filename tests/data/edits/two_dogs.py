"""Two dogs and a cat with their masks, painted, for the tests of edits."""

from pathlib import Path

import numpy as np

from mmgrad_explain.data.instances.records import Instance

SIZE = 128


def instance(mask, name="dog", **options):
    return Instance(Path("a.jpg"), mask, name, **options)


def box(left, top, width, height):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def scene():
    """Two dogs of one colour and a cat of another on a plain textured ground."""
    rng = np.random.default_rng(0)
    image = rng.integers(110, 130, (SIZE, SIZE, 3)).astype(np.uint8)
    instances = [
        instance(box(10, 20, 24, 30)), instance(box(90, 20, 24, 30)), instance(box(40, 80, 36, 36), "cat"),
    ]  # fmt: skip
    for one, color in zip(instances, ((200, 60, 40), (190, 50, 40), (40, 60, 190)), strict=True):
        shading = rng.normal(0, 24, (SIZE, SIZE, 1))
        image[one.mask] = np.clip(np.array(color) + shading, 0, 255)[one.mask]
    return image, instances
