"""What a description speaks of besides the object that it means."""

import numpy as np
import pytest

from mmgrad_explain.data.scenes.context import draw_context_mask, find_anchor
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import LABELS, scenes
from mmgrad_explain.data.scenes.text import find_qualifier


def triplets(**shares):
    for scene in scenes(3, 40, size=64, labels=True, options=SceneOptions(objects=(3, 6), **shares)):
        for triplet in scene.triplets:
            yield scene, triplet


def test_every_relation_has_its_anchor_and_nothing_else_has_one():
    found = 0
    for scene, triplet in triplets(relations=0.6, places=0.2):
        anchor = find_anchor(triplet.subject, scene.objects)
        related = find_qualifier(triplet.subject) == "relation"
        assert (anchor is not None) == related, triplet.subject
        mask = draw_context_mask(triplet.subject, scene.objects, 64)
        assert mask.shape == (64, 64)
        assert mask.any() == related
        if related:
            found += 1
            assert anchor not in triplet.objects
            assert not (mask & triplet.reference_mask).any()
            for channel, name in enumerate(("color", "shape", "size")):  # the mask shows what the anchor is
                shown = np.unique(scene.labels[channel][mask])
                assert shown.tolist() == [1 + LABELS[name].index(getattr(anchor, name))]
    assert found > 20


@pytest.mark.parametrize("subject", ["the ring", "it", "the star left of the ring", "the star above the thing"])
def test_nothing_is_found_where_the_words_fit_no_one_object(subject):
    assert find_anchor(subject, ()) is None
    assert not draw_context_mask(subject, (), 32).any()
