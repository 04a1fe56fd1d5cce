"""Procedural scenes as a source."""

import numpy as np

from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

FEW = SceneSourceOptions(pictures=2, edits=3)


def test_scenes_go_on_with_the_steps():
    batch = SceneSource(32, FEW, labels=True).batch(4, 3)
    drawn = list(scenes(4, 2, size=32, edits=3, start=6, labels=True))
    assert np.array_equal(batch.references, np.stack([scene.reference for scene in drawn]))
    assert batch.texts == [triplet.text for scene in drawn for triplet in scene.triplets]
    assert np.array_equal(batch.reference_labels["shape"][1], drawn[1].labels[1])
    assert np.array_equal(batch.target_labels["color"][4], drawn[1].triplets[1].labels[0])
    assert (batch.partner < 6).all()
    for i, j in enumerate(batch.partner):
        assert j < 0 or (j // 3 == i // 3 and j != i)


def test_scenes_without_labels():
    source = SceneSource(32, FEW)
    assert source.label_classes == {}
    assert source.batch(0, 0).reference_labels == {}
    assert SceneSource(32, FEW, labels=True).label_classes["shape"] == 9
