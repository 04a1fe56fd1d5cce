"""Generated scenes: repeatable, well formed, and truthful about what changes and what is meant."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from mmgrad_explain.data.scenes import scene as scenes
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.planning import EDITS
from mmgrad_explain.data.scenes.scene import generate_scene
from mmgrad_explain.errors import InputError

QUIET = SceneOptions(noise=False)


def _grown(mask, pixels):
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[2:, 1:-1] | padded[:-2, 1:-1]
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


def _same(a, b):
    if not np.array_equal(a.reference, b.reference) or len(a.triplets) != len(b.triplets):
        return False
    return all(
        (s.edit, s.text, s.subject) == (t.edit, t.text, t.subject)
        and np.array_equal(s.target, t.target)
        and np.array_equal(s.reference_mask, t.reference_mask)
        and np.array_equal(s.target_mask, t.target_mask)
        for s, t in zip(a.triplets, b.triplets, strict=True)
    )


def test_scene_depends_on_seed_and_index_alone():
    first = list(scenes.scenes(3, 6))
    assert all(_same(a, b) for a, b in zip(first, scenes.scenes(3, 6), strict=True))
    assert all(_same(a, b) for a, b in zip(first[4:], scenes.scenes(3, 2, start=4), strict=True))
    assert not any(_same(a, b) for a, b in zip(first, scenes.scenes(4, 6), strict=True))
    assert _same(first[5], generate_scene(np.random.default_rng([3, 5])))


@pytest.mark.parametrize(("size", "edits"), [(96, 4), (32, 1), (65, 7), (128, 16)])
def test_shapes_and_types(size, edits):
    for scene in scenes.scenes(0, 5, size=size, edits=edits):
        assert len(scene.triplets) == edits
        for picture in (scene.reference, *(t.target for t in scene.triplets)):
            assert picture.shape == (size, size, 3)
            assert picture.dtype == np.uint8
        for triplet in scene.triplets:
            for mask in (triplet.reference_mask, triplet.target_mask):
                assert mask.shape == (size, size)
                assert mask.dtype == np.bool_
                assert mask.any()
            assert triplet.labels is None
        assert scene.labels is None
        assert 1 <= len(scene.objects) <= 6
        added = [t.objects for t in scene.triplets if t.edit == "add"]
        assert all(len(new) == 1 and not set(new) & set(scene.objects) for new in added)


def test_labels_say_what_is_where(many):
    for index in range(100):
        scene, stage = scenes._generate(np.random.default_rng([7, index]), 96, 4, labels=True)
        assert _same(scene, many[index][0])
        assert scene.labels.shape == (3, 96, 96)
        assert scene.labels.dtype == np.uint8
        for thing in stage.objects:
            around = scene.labels[:, max(0, int(thing.y - thing.radius)) : int(thing.y + thing.radius) + 1][
                ..., max(0, int(thing.x - thing.radius)) : int(thing.x + thing.radius) + 1
            ].reshape(3, -1)
            values = [1 + names.index(getattr(thing, kind)) for kind, names in scenes.LABELS.items()]
            assert (around == np.array(values)[:, None]).all(0).sum() >= 12
        assert len(np.unique(scene.labels.reshape(3, -1), axis=1).T) == len(stage.objects) + 1
        for t in scene.triplets:
            places = t.reference_mask | t.target_mask
            assert ((scene.labels != t.labels).any(0) <= places).all()
            assert (t.labels[:, t.target_mask] > 0).all() == (t.edit != "remove")
            if t.edit in ("remove", "move"):
                assert (t.labels[:, t.reference_mask & ~t.target_mask] == 0).all()
            if t.edit == "recolour":
                assert np.array_equal(scene.labels[1:], t.labels[1:])
                assert (scene.labels[0] != t.labels[0]).any()


def test_masks_are_never_tiny(many):
    assert min(min(t.reference_mask.sum(), t.target_mask.sum()) for s, _ in many for t in s.triplets) >= 12


def test_without_noise_nothing_changes_outside_the_masks():
    for index in range(150):
        scene, _ = scenes._generate(np.random.default_rng([1, index]), 96, 4, options=QUIET)
        for triplet in scene.triplets:
            changed = (scene.reference != triplet.target).any(2)
            masks = triplet.reference_mask | triplet.target_mask
            assert not (changed & ~_grown(masks, 4)).any(), triplet.text
            assert (changed & masks).any(), triplet.text


def test_visible_change_lies_where_the_masks_say():
    for index in range(100):
        scene, _ = scenes._generate(np.random.default_rng([2, index]), 96, 4, options=QUIET)
        for triplet in scene.triplets:
            change = np.abs(scene.reference.astype(float) - triplet.target).sum(2)
            masks = triplet.reference_mask | triplet.target_mask
            assert change[_grown(masks, 1)].sum() > 0.8 * change.sum(), triplet.text


def test_mask_conventions_by_edit(many):
    for scene, _ in many[:200]:
        for t in scene.triplets:
            same = np.array_equal(t.reference_mask, t.target_mask)
            if t.edit == "swap":
                continue
            if t.edit in ("recolour", "remove", "add"):
                assert same
            elif t.edit == "move":
                assert not (t.reference_mask & t.target_mask).all()
                old, new = (np.argwhere(m).mean(0) for m in (t.reference_mask, t.target_mask))
                assert np.hypot(*(old - new)) > 0.24 * 96
            else:
                assert not same


def test_letterbox_bars_are_exact_and_free_of_masks(many):
    boxed = [(scene, stage) for scene, stage in many if stage.visible != (0, 0, 96, 96)]
    assert 0.10 < len(boxed) / len(many) < 0.20
    for scene, (left, top, right, bottom) in ((scene, stage.visible) for scene, stage in boxed):
        bars = np.ones((96, 96), dtype=bool)
        bars[top:bottom, left:right] = False
        assert 0 < bars.mean() <= 0.26
        for picture in (scene.reference, *(t.target for t in scene.triplets)):
            assert (picture[bars] == 127).all()
        assert not any((t.reference_mask | t.target_mask)[bars].any() for t in scene.triplets)


def test_all_kinds_occur_in_fair_shares(many):
    counts = Counter(t.edit for s, _ in many for t in s.triplets)
    assert set(counts) == set(EDITS)
    assert all(0.08 < n / 2000 < 0.30 for edit, n in counts.items() if edit != "swap")
    two = Counter(t.edit for s, _ in many for t in s.triplets if " and " in t.subject)
    assert set(two) == {"recolour", "remove", "resize", "swap"}
    assert two["swap"] == counts["swap"]
    assert 0.06 < sum(two.values()) / 2000 < 0.10


def test_edits_of_a_scene_differ_and_often_share_their_kind(many):
    twins = 0
    for scene, _ in many:
        targets = [t.target.tobytes() for t in scene.triplets]
        assert len(set(targets)) == len(targets)
        twins += len({t.edit for t in scene.triplets}) < len(targets)
    assert 0.35 < twins / len(many) < 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 31}, "size"), ({"size": 513}, "size"), ({"edits": 0}, "edits"), ({"edits": 17}, "edits")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        generate_scene(np.random.default_rng(0), **options)
    with pytest.raises(InputError, match=message):
        scenes.scenes(0, 1, **options)


@pytest.mark.parametrize("name", ["seed", "count", "start"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(InputError, match=name):
        scenes.scenes(**{"seed": 0, "count": 1, "start": 0, name: -1})


def test_series_is_lazy():
    assert len(list(islice(scenes.scenes(0, 10**9), 2))) == 2
