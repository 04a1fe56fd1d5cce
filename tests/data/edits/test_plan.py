"""Edits of one photograph: only what is fit is edited, only what can be seen is kept, every phrase means one thing."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmgrad_explain.data.edits.options import EDIT_KINDS, EditOptions
from mmgrad_explain.data.edits.plan import make_edits, measure_change

_SPEC = importlib.util.spec_from_file_location("two_dogs", Path(__file__).with_name("two_dogs.py"))
two_dogs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(two_dogs)


@pytest.fixture(scope="module")
def many():
    image, instances = two_dogs.scene()
    options = EditOptions(edits_per_image=4)
    return [(seed, *make_edits(image, instances, options, np.random.default_rng(seed))) for seed in range(40)]


def test_edits_change_their_mask_and_nothing_else(many):
    image, instances = two_dogs.scene()
    for _, edits, _ in many:
        assert 2 <= len(edits) <= 4
        for edit in edits:
            assert ((edit.target if edit.kind == "add" else edit.reference) == image).all()
            change = measure_change(edit.reference, edit.target, edit.mask, edit.dilate)
            assert change.de_in >= 6
            assert change.de_out == 0
            assert any((edit.mask == one.mask).all() for one in instances) or edit.qualifier == "all"
            assert (edit.dilate > 0) == (edit.kind in ("remove", "add"))


def test_phrases_mean_the_mask(many):
    _, instances = two_dogs.scene()
    left, right, cat = (one.mask for one in instances)
    for _, edits, _ in many:
        for edit in edits:
            if edit.qualifier == "all":
                assert (edit.mask == left | right).all()
                assert "dogs" in edit.text
            elif "cat" in edit.phrase:
                assert edit.phrase == "the cat"
                assert (edit.mask == cat).all()
            else:
                assert (edit.mask == (left if "left" in edit.phrase else right)).all()
                assert "left" in edit.phrase or "right" in edit.phrase
            if edit.kind != "add":
                assert edit.phrase in edit.text or edit.phrase == "the cat"
            assert edit.n_instances == (1 if edit.class_name == "cat" else 2)


def test_all_kinds_occur_and_no_edit_twice(many):
    assert {edit.kind for _, edits, _ in many for edit in edits} == set(EDIT_KINDS)
    for _, edits, _ in many:
        keys = [(edit.kind.replace("gray", "recolour"), edit.detail, edit.mask.tobytes()) for edit in edits]
        assert len(set(keys)) == len(keys)


def test_twins_ask_the_same_of_two_objects(many):
    pairs = [edits[:2] for _, edits, _ in many]
    twins = [a.kind == b.kind and a.detail == b.detail and not (a.mask & b.mask).any() for a, b in pairs]
    assert 0.2 < np.mean(twins) < 0.8


def test_equal_seeds_give_equal_edits(many):
    image, instances = two_dogs.scene()
    seed, edits, skipped = many[3]
    again, skipped_again = make_edits(image, instances, EditOptions(edits_per_image=4), np.random.default_rng(seed))
    assert skipped == skipped_again
    assert [(e.text, e.target.tobytes()) for e in edits] == [(e.text, e.target.tobytes()) for e in again]


def test_kinds_can_be_chosen():
    image, instances = two_dogs.scene()
    edits, _ = make_edits(image, instances, EditOptions(kinds=("darken",)), np.random.default_rng(0))
    assert {edit.kind for edit in edits} == {"darken"}
    assert {edit.detail for edit in edits} == {"darker"}


def test_gray_is_asked_of_an_object_only_once():
    image, instances = two_dogs.scene()
    options = EditOptions(kinds=("gray", "recolour"), edits_per_image=32)
    edits, _ = make_edits(image, instances[2:], options, np.random.default_rng(0))
    assert len(edits) > 5
    assert sum(edit.detail == "gray" for edit in edits) == 1


def test_what_cannot_be_seen_is_dropped_and_counted():
    image, instances = two_dogs.scene()
    image[:] = 128  # there is no colour to remove, and nothing to blur
    edits, skipped = make_edits(image, instances, EditOptions(kinds=("gray", "blur")), np.random.default_rng(0))
    assert edits == []
    assert set(skipped) <= {
        "gray: not visible enough", "blur: not visible enough", "no unambiguous name for the object",
    }  # fmt: skip
    assert skipped["gray: not visible enough"] > 3


def test_a_colour_must_come_out():
    image, instances = two_dogs.scene()
    instances = [replace(instances[2], mask=two_dogs.box(40, 80, 36, 36))]
    image[instances[0].mask] = 128
    image[80:98, 40:76] = 255  # half white, half black: no colour fits the whole
    image[98:116, 40:76] = 0
    edits, skipped = make_edits(image, instances, EditOptions(kinds=("recolour",)), np.random.default_rng(0))
    assert all(edit.kind == "recolour" for edit in edits)
    assert skipped["recolour: the colour does not come out"] + len(edits) > 0


def test_removal_is_for_things_that_stand_free():
    image, instances = two_dogs.scene()
    options = EditOptions(kinds=("remove", "add"), edits_per_image=6)
    assert make_edits(image, instances, options, np.random.default_rng(0))[0]
    stuff = [replace(one, is_thing=False) for one in instances]
    held = [*instances, two_dogs.instance(~np.any([one.mask for one in instances], axis=0), "wall", editable=False)]
    for others in (stuff, held):
        edits, skipped = make_edits(image, others, options, np.random.default_rng(0))
        assert edits == []
        assert skipped["no edit suits the object"]


def test_swap_needs_another_object_of_another_colour():
    image, instances = two_dogs.scene()
    options = EditOptions(kinds=("swap",))
    edits, _ = make_edits(image, instances, options, np.random.default_rng(1))
    assert {edit.detail for edit in edits} & {"the cat", "both dogs", "all the dogs", "the left dog"}
    dogs, skipped = make_edits(image, instances[:2], options, np.random.default_rng(0))
    assert dogs == []
    assert skipped["swap: no other object of another colour"]


def test_swap_gives_up_where_the_giver_has_no_name():
    image, instances = two_dogs.scene()
    near = [
        instances[2],
        two_dogs.instance(two_dogs.box(50, 10, 12, 30)),
        two_dogs.instance(two_dogs.box(62, 10, 12, 30)),
    ]
    image[near[1].mask | near[2].mask] = (200, 50, 40)
    options = EditOptions(kinds=("swap",), max_area=0.02 + 36 * 36 / two_dogs.SIZE**2, min_area=0.001)
    details = set()
    for seed in range(8):
        edits, _ = make_edits(image, near, options, np.random.default_rng(seed))
        details |= {edit.detail for edit in edits if edit.class_name == "cat"}
    assert details <= {"both dogs", "all the dogs"}


def test_added_objects_may_be_said_with_their_place():
    image, instances = two_dogs.scene()
    texts = set()
    for seed in range(12):
        options = EditOptions(kinds=("add",), edits_per_image=1)
        edits, _ = make_edits(image, instances[:1], options, np.random.default_rng(seed))
        texts |= {edit.text for edit in edits}
    assert any("a dog on the left" in text or "a dog at the top" in text for text in texts)
    assert any(text.endswith(("a dog", "a dog there")) for text in texts)


def test_change_is_measured_in_lab():
    gray = np.full((8, 8, 3), 119, np.uint8)
    white = gray.copy()
    mask = two_dogs.box(0, 0, 4, 4)[:8, :8]
    white[mask] = 255
    change = measure_change(gray, white, mask)
    assert change.de_in == pytest.approx(50, abs=1)
    assert change.mean_shift == pytest.approx(50, abs=1)
    assert change[1:3] == (1.0, 0.0)
    assert measure_change(gray, white, ~mask, dilate=4).de_out == 0
