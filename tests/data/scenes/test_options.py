"""Variants of the scenes that training never sees, and what the default keeps out."""

from collections import Counter

import numpy as np
import pytest

from mmgrad_explain.data.scenes import planning as scene_edits
from mmgrad_explain.data.scenes import scene as scenes
from mmgrad_explain.data.scenes import text as scene_text
from mmgrad_explain.data.scenes.drawing import COLORS, SHAPES
from mmgrad_explain.data.scenes.options import HELD_OUT_PAIRS, SceneOptions
from mmgrad_explain.data.scenes.scene import LABELS
from mmgrad_explain.errors import InputError


def _many(count, **options):
    rngs = (np.random.default_rng([5, i]) for i in range(count))
    return [scenes._generate(rng, 64, 4, labels=True, options=SceneOptions(**options)) for rng in rngs]


def _pairs(labels):
    """The shapes and colours that a label map shows."""
    values = np.unique(labels[0].astype(int) * 16 + labels[1])
    return {(LABELS["shape"][value % 16 - 1], LABELS["color"][value // 16 - 1]) for value in values if value}


def test_every_shape_and_every_color_is_held_out_once():
    assert len(HELD_OUT_PAIRS) == 8
    assert {shape for shape, _ in HELD_OUT_PAIRS} == set(SHAPES)
    assert {color for _, color in HELD_OUT_PAIRS} == set(COLORS)


def test_training_knows_no_held_out_pair():
    seen = set()
    for scene, _ in _many(300):
        for labels in (scene.labels, *(t.labels for t in scene.triplets)):
            seen |= _pairs(labels)
    assert not seen & HELD_OUT_PAIRS
    assert len(seen) == 64 - 8


def test_all_pairs_on_demand():
    seen = set().union(*(_pairs(scene.labels) for scene, _ in _many(300, pairs="all")))
    assert len(seen) == 64


def test_held_out_pairs_are_what_is_edited():
    edits = Counter()
    for scene, stage in _many(150, pairs="held-out"):
        assert any((o.shape, o.color) in HELD_OUT_PAIRS for o in stage.objects) or all(
            t.edit == "add" for t in scene.triplets
        )
        for t in scene.triplets:
            labels, mask = (t.labels, t.target_mask) if t.edit == "add" else (scene.labels, t.reference_mask)
            assert _pairs(labels[:, mask]) <= HELD_OUT_PAIRS, t.text
            edits[t.edit] += 1
    assert set(edits) == set(scene_edits.EDITS)


def test_held_out_sentences_are_of_known_words():
    texts = [t.text for s, _ in _many(150, templates="held-out") for t in s.triplets]
    assert set(" ".join(texts).split()) <= set(scene_text.VOCABULARY)
    assert not any(text.startswith(("remove", "swap", "enlarge", "paint", "replace")) for text in texts)


def test_more_objects_than_in_training():
    counts = Counter(len(stage.objects) for _, stage in _many(100, objects=(7, 10)))
    assert set(counts) == {7, 8, 9, 10}
    assert set(Counter(len(stage.objects) for _, stage in _many(20, objects=(2, 2)))) == {2}


def test_shapes_on_pictures():
    flat = np.full((70, 100, 3), 90, dtype=np.uint8)
    tiny = np.full((20, 20, 3), 90, dtype=np.uint8)
    for scene, stage in _many(20, backdrops=(flat, tiny), noise=False):
        empty = scene.labels[0] == 0
        left, top, right, bottom = stage.visible
        inside = np.zeros_like(empty)
        inside[top + 4 : bottom - 4, left + 4 : right - 4] = True
        values = scene.reference[empty & inside].astype(float)
        assert np.abs(values - np.median(values, 0)).mean() < 25  # one tone, but for light and blurred edges


def test_how_objects_are_told_apart_can_be_chosen():
    def kinds(**shares):
        found = Counter()
        for scene, _ in _many(60, objects=(3, 6), **shares):
            found.update(
                scene_text.find_qualifier(one.subject) for one in scene.triplets if one.edit not in ("add", "move")
            )
        total = sum(found.values())
        return found["relation"] / total, sum(n for name, n in found.items() if "place" in name) / total

    assert kinds(relations=0.0, places=0.0) == (0.0, 0.0)
    often = kinds(relations=0.5, places=0.5)
    usual = kinds()
    assert often[0] > 2 * usual[0] > 0
    assert often[1] > usual[1] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "some"}, r"pairs must be 'training', 'held-out' or 'all', got 'some'"),
        ({"templates": "all"}, r"templates must be 'training' or 'held-out', got 'all'"),
        ({"objects": (0, 3)}, r"objects must be two numbers between 1 and 12 in order, got \(0, 3\)"),
        ({"objects": (4, 3)}, r"objects must be two numbers"),
        ({"objects": (4, 13)}, r"objects must be two numbers"),
        ({"relations": -0.1}, r"relations and places are shares of the descriptions"),
        ({"relations": 0.6, "places": 0.5}, r"at most 1 together, got 0.6 and 0.5"),
        ({"backdrops": (np.zeros((4, 4), dtype=np.uint8),)}, r"shape \(H, W, 3\), got uint8 \(4, 4\)"),
        ({"backdrops": (np.zeros((4, 4, 3)),)}, r"got float64 \(4, 4, 3\)"),
        ({"backdrops": (np.zeros((0, 4, 3), dtype=np.uint8),)}, r"got uint8 \(0, 4, 3\)"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        SceneOptions(**options)


def test_backdrops_are_arrays():
    with pytest.raises(TypeError, match="backdrops must be arrays, got str"):
        SceneOptions(backdrops=("beach.jpg",))
