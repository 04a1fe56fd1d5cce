"""The objects of a photograph that can be edited."""

from collections import Counter
from pathlib import Path

import numpy as np

from mmgrad_explain.data.edits.objects import find_objects, shrink_to_size
from mmgrad_explain.data.edits.options import EditOptions
from mmgrad_explain.data.edits.plan import make_edits
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


def objects(instances, **bounds):
    skipped = Counter()
    found = find_objects(instances, [one.mask for one in instances], skipped, **bounds)
    return found, skipped


def test_small_large_thin_and_crowded_objects_are_left_out():
    thin = np.zeros((SIZE, SIZE), bool)
    thin[::4, :64] = True
    instances = [
        instance(box(0, 0, 9, 9), "cup"), instance(box(0, 0, SIZE, 120), "wall"), instance(thin, "fence"),
        instance(box(20, 20, 30, 30), "person"), instance(box(60, 20, 30, 30), "person", is_crowd=True),
    ]  # fmt: skip
    found, skipped = objects(instances, max_area=0.6)
    assert found == []
    assert skipped == {
        "object too small": 1, "object too large": 1, "object too thin": 1,
        "object of a class with a crowd in the picture": 2,
    }  # fmt: skip


def test_small_ones_still_count_as_others_of_their_kind():
    found, skipped = objects([instance(box(10, 10, 30, 30)), instance(box(90, 90, 4, 4))])
    assert skipped == {"object too small": 1}
    assert {len(one.spots) for one in found} == {2}
    assert "the dog" not in {found[0].name(np.random.default_rng(i))[0] for i in range(20)}


def test_all_of_a_class_can_be_meant():
    found, _ = objects([instance(box(10, 10, 30, 30)), instance(box(60, 60, 30, 30)), instance(box(0, 0, 0, 0))])
    (together,) = [one for one in found if one.index is None]
    assert together.mask.sum() == 1800
    assert together.name(np.random.default_rng(0))[1] == "all"


def test_contact_is_the_share_of_the_outline_that_is_not_free():
    free, held, corner = (
        objects(instances)[0][0].contact
        for instances in (
            [instance(box(20, 20, 30, 30), "a")],
            [instance(box(20, 20, 30, 30), "a"), instance(box(50, 0, 60, SIZE), "b", editable=False)],
            [instance(box(0, 0, 30, 30), "a")],
        )
    )
    assert free == 0
    assert 0.2 < held < 0.3
    assert 0.4 < corner < 0.6


def test_large_photographs_are_reduced_with_their_masks():
    image, instances = scene()
    small, masks = shrink_to_size(image, instances, 64)
    assert small.shape == (64, 64, 3)
    assert [int(mask.sum()) for mask in masks] == [one.mask.sum() // 4 for one in instances]
    same, masks = shrink_to_size(image, instances, 400)
    assert same is image
    assert masks[0] is instances[0].mask
    assert make_edits(image, [], EditOptions(), np.random.default_rng(0)) == ([], Counter())
