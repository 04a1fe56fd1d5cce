"""Scenes as tensors."""

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.training.scene_batches import scene_batch


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


def test_training_and_explaining_see_pictures_alike(tiny_processor):
    (scene,) = scenes(5, 1, size=32, edits=1)
    batch = scene_batch(5, 0, 1, tiny_processor, edits=1)
    explained, _ = tiny_processor.encode_images([Image.fromarray(scene.reference)])
    torch.testing.assert_close(batch.references, explained)
