"""Edits of the objects in a scene."""

from dataclasses import replace

import numpy as np
import pytest

from mmgrad_explain.training.sources.object_edits import OBJECT_EDITS, ObjectEditor
from mmgrad_explain.training.sources.object_scenes import Cutout, Scene, Thing
from mmgrad_explain.training.sources.object_texts import ObjectTexts

VIEW = np.ones((48, 48), bool)
TEXTS = ObjectTexts(["background", "dog", "cat"], {}, 0.5)


def cutout(label, value):
    return Cutout(label, np.full((12, 12, 3), value, np.uint8), np.ones((12, 12), np.float32))


def thing(label, value, place):
    return Thing(label, VIEW, cutout(label, value), place)


DOG, CAT, SPARE = (
    thing(1, (200, 40, 40), (12, 12, 12)),
    thing(2, (40, 40, 200), (36, 34, 12)),
    thing(1, 90, (12, 36, 12)),
)
SCENE = Scene(np.full((48, 48, 3), 120, np.uint8), np.zeros((48, 48), np.uint8), (), (DOG, CAT), VIEW)


def edits(kind, scene=SCENE, count=3):
    """Edits of one kind, where that can be made, else recolourings."""
    spare = Thing(1, np.indices((48, 48))[1] > 30, SPARE.cutout, SPARE.place)
    editor = ObjectEditor(count, {kind: 1.0, "recolour": 1e-9}, 9, TEXTS)
    return editor.edit(scene, [spare], cutout(2, 250), np.random.default_rng(0))


@pytest.mark.parametrize("kind", OBJECT_EDITS)
def test_the_image_changes_where_the_masks_are_and_nowhere_else(kind):
    grain = np.random.default_rng(2).integers(-30, 30, (12, 12, 1))
    grained = [
        Thing(
            one.label,
            VIEW,
            replace(one.cutout, pixels=np.clip(one.cutout.pixels + grain, 0, 255).astype(np.uint8)),
            one.place,
        )
        for one in SCENE.pasted
    ]
    image, _, made = edits(kind, replace(SCENE, pasted=tuple(grained)))
    assert len(made) == 3
    assert kind in {edit.kind for edit in made}
    for edit in made:
        changed = (edit.target != image).any(-1)
        assert changed.any()
        assert not (changed & ~edit.mask & ~edit.target_mask).any()


def test_a_removed_object_leaves_no_trace():
    _, labels, made = edits("remove")
    for edit in (edit for edit in made if edit.kind == "remove"):
        assert (edit.target[edit.mask] == 120).all()
        assert (edit.labels[edit.mask] == 0).all()
        assert (labels[edit.mask] > 0).all()


def test_an_added_object_is_in_the_target_only():
    image, _, made = edits("add")
    edit = next(edit for edit in made if edit.kind == "add")
    assert (image[edit.mask] == 120).all()
    assert (edit.target[edit.mask] == 90).all()
    assert (edit.labels[edit.mask] == 1).all()
    assert "dog" in edit.text


def test_a_replaced_object_becomes_another():
    _, labels, made = edits("replace")
    edit = next(edit for edit in made if edit.kind == "replace")
    assert (labels[edit.mask] == 1).all()
    assert (edit.labels[edit.target_mask] == 2).all()
    assert "dog" in edit.text
    assert "cat" in edit.text


@pytest.mark.parametrize(("kind", "larger"), [("enlarge", True), ("shrink", False)])
def test_a_resized_object_stays_in_its_place(kind, larger):
    edit = next(edit for edit in edits(kind)[2] if edit.kind == kind)
    before, after = (np.argwhere(mask).mean(0) for mask in (edit.mask, edit.target_mask))
    assert np.allclose(before, after, atol=1)
    assert (edit.target_mask.sum() > edit.mask.sum()) == larger


def test_two_that_cannot_be_told_apart_are_changed_together():
    twin = thing(1, (200, 40, 40), (12, 14, 12))
    mask = np.zeros((48, 48), bool)
    mask[30:40, 10:20] = True
    scene = Scene(SCENE.ground, SCENE.ground_labels, (Thing(1, mask), Thing(1, mask.T & ~mask)), (), VIEW)
    for edit in ObjectEditor(2, {"darken": 1.0, "recolour": 1e-9}, 9, TEXTS).edit(
        scene, (), None, np.random.default_rng(1)
    )[2]:
        assert edit.mask.any()
    assert twin.label == 1


def test_an_object_of_the_photograph_itself_is_filled_in():
    mask = np.zeros((48, 48), bool)
    mask[20:30, 20:30] = True
    ground = np.full((48, 48, 3), 120, np.uint8)
    ground[mask] = 250
    scene = Scene(ground, mask.astype(np.uint8), (Thing(1, mask),), (), VIEW)
    edit = next(edit for edit in edits("remove", scene)[2] if edit.kind == "remove")
    assert edit.target[25, 25].max() < 160
    assert (edit.labels[mask] == 255).all()
