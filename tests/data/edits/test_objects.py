"""The objects of a photograph that can be edited."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np

from mmgrad_explain.data.edits.objects import find_objects, shrink_to_size
from mmgrad_explain.data.edits.options import EditOptions
from mmgrad_explain.data.edits.plan import make_edits

_SPEC = importlib.util.spec_from_file_location("two_dogs", Path(__file__).with_name("two_dogs.py"))
two_dogs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(two_dogs)


def objects(instances, **bounds):
    skipped = Counter()
    found = find_objects(instances, [one.mask for one in instances], skipped, **bounds)
    return found, skipped


def test_small_large_thin_and_crowded_objects_are_left_out():
    thin = np.zeros((two_dogs.SIZE, two_dogs.SIZE), bool)
    thin[::4, :64] = True
    instances = [
        two_dogs.instance(two_dogs.box(0, 0, 9, 9), "cup"),
        two_dogs.instance(two_dogs.box(0, 0, two_dogs.SIZE, 120), "wall"),
        two_dogs.instance(thin, "fence"),
        two_dogs.instance(two_dogs.box(20, 20, 30, 30), "person"),
        two_dogs.instance(two_dogs.box(60, 20, 30, 30), "person", is_crowd=True),
    ]
    found, skipped = objects(instances, max_area=0.6)
    assert found == []
    assert skipped == {
        "object too small": 1, "object too large": 1, "object too thin": 1,
        "object of a class with a crowd in the picture": 2,
    }  # fmt: skip


def test_small_ones_still_count_as_others_of_their_kind():
    found, skipped = objects(
        [two_dogs.instance(two_dogs.box(10, 10, 30, 30)), two_dogs.instance(two_dogs.box(90, 90, 4, 4))]
    )
    assert skipped == {"object too small": 1}
    assert {len(one.spots) for one in found} == {2}
    assert "the dog" not in {found[0].name(np.random.default_rng(i))[0] for i in range(20)}


def test_all_of_a_class_can_be_meant():
    found, _ = objects(
        [
            two_dogs.instance(two_dogs.box(10, 10, 30, 30)),
            two_dogs.instance(two_dogs.box(60, 60, 30, 30)),
            two_dogs.instance(two_dogs.box(0, 0, 0, 0)),
        ]
    )
    (together,) = [one for one in found if one.index is None]
    assert together.mask.sum() == 1800
    assert together.name(np.random.default_rng(0))[1] == "all"


def test_contact_is_the_share_of_the_outline_that_is_not_free():
    free, held, corner = (
        objects(instances)[0][0].contact
        for instances in (
            [two_dogs.instance(two_dogs.box(20, 20, 30, 30), "a")],
            [
                two_dogs.instance(two_dogs.box(20, 20, 30, 30), "a"),
                two_dogs.instance(two_dogs.box(50, 0, 60, two_dogs.SIZE), "b", editable=False),
            ],
            [two_dogs.instance(two_dogs.box(0, 0, 30, 30), "a")],
        )
    )
    assert free == 0
    assert 0.2 < held < 0.3
    assert 0.4 < corner < 0.6


def test_large_photographs_are_reduced_with_their_masks():
    image, instances = two_dogs.scene()
    small, masks = shrink_to_size(image, instances, 64)
    assert small.shape == (64, 64, 3)
    assert [int(mask.sum()) for mask in masks] == [one.mask.sum() // 4 for one in instances]
    same, masks = shrink_to_size(image, instances, 400)
    assert same is image
    assert masks[0] is instances[0].mask
    assert make_edits(image, [], EditOptions(), np.random.default_rng(0)) == ([], Counter())
