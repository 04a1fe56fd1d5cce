"""Scenes as tensors."""

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.data.batches.scenes import scene_batch
from mmgrad_explain.data.scenes.options import HELD_OUT_PAIRS, SceneOptions
from mmgrad_explain.data.scenes.scene import LABELS, scenes


def test_a_batch_holds_the_scenes(tiny_processor):
    batch = scene_batch(5, 7, 3, tiny_processor, edits=2)
    items = list(scenes(5, 3, size=32, edits=2, start=7))
    assert batch.references.shape == (3, 3, 32, 32)
    assert batch.targets.shape == (6, 3, 32, 32)
    assert batch.scene.tolist() == [0, 0, 1, 1, 2, 2]
    triplet = items[1].triplets[1]
    assert batch.texts[3] == triplet.text
    assert batch.edits[3] == triplet.edit
    assert np.array_equal(batch.reference_masks[3], triplet.reference_mask)
    assert np.array_equal(batch.target_masks[3], triplet.target_mask)
    torch.testing.assert_close(
        batch.targets[3:4], (torch.from_numpy(triplet.target[None]).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    )
    ids = tiny_processor.tokenizer.encode(triplet.text).ids
    assert batch.input_ids[3][: len(ids)].tolist() == ids
    assert batch.attention_mask.sum(1)[3] == len(ids)
    assert batch.reference_labels is None
    assert batch.target_labels is None


def test_labels_come_when_asked_for(tiny_processor):
    plain, batch = scene_batch(5, 0, 2, tiny_processor), scene_batch(5, 0, 2, tiny_processor, labels=True)
    items = list(scenes(5, 2, size=32, labels=True))
    assert batch.reference_labels.shape == (2, 3, 32, 32)
    assert batch.target_labels.shape == (8, 3, 32, 32)
    assert batch.target_labels.dtype == torch.uint8
    assert np.array_equal(batch.reference_labels[1], items[1].labels)
    assert np.array_equal(batch.target_labels[5], items[1].triplets[1].labels)
    torch.testing.assert_close(batch.targets, plain.targets)


def test_variants_reach_the_generator(tiny_processor):
    batch = scene_batch(5, 0, 8, tiny_processor, labels=True, options=SceneOptions(pairs="held-out"))
    for index, edit in enumerate(batch.edits):
        if edit != "add":
            meant = batch.reference_labels[batch.scene[index]][:, batch.reference_masks[index]]
            shown = {(LABELS["shape"][s - 1], LABELS["color"][c - 1]) for c, s, _ in meant.T.tolist()}
            assert shown <= HELD_OUT_PAIRS


def test_partners_mean_another_place(tiny_processor):
    batch = scene_batch(5, 0, 60, tiny_processor)
    found = 0
    for index, partner in enumerate(batch.partner.tolist()):
        if partner < 0:
            continue
        other = 4 * (index // 4) + partner
        assert other != index
        assert "add" not in (batch.edits[index], batch.edits[other])
        assert not (batch.reference_masks[index] & batch.reference_masks[other]).any()
        assert not (batch.target_masks[index] & batch.target_masks[other]).any()
        found += 1
    assert batch.partner.shape == (240,)
    assert found > 120


def test_training_and_explaining_see_pictures_alike(tiny_processor):
    (scene,) = scenes(5, 1, size=32, edits=1)
    batch = scene_batch(5, 0, 1, tiny_processor, edits=1)
    explained, _ = tiny_processor.encode_images([Image.fromarray(scene.reference)])
    torch.testing.assert_close(batch.references, explained)
