"""Scenes as tensors."""

import numpy as np
import torch

from mmgrad_explain.composers.processor import ReferenceProcessor
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.training.scene_batches import pixels_to_tensor, scene_batch


def test_a_batch_holds_the_scenes(tokenizer):
    batch = scene_batch(5, 7, 3, tokenizer, size=32, edits=2)
    items = list(scenes(5, 3, size=32, edits=2, start=7))
    assert batch.references.shape == (3, 3, 32, 32)
    assert batch.targets.shape == (6, 3, 32, 32)
    assert batch.scene.tolist() == [0, 0, 1, 1, 2, 2]
    triplet = items[1].triplets[1]
    assert batch.texts[3] == triplet.text
    assert batch.edits[3] == triplet.edit
    assert np.array_equal(batch.reference_masks[3], triplet.reference_mask)
    assert np.array_equal(batch.target_masks[3], triplet.target_mask)
    torch.testing.assert_close(batch.targets[3:4], pixels_to_tensor(triplet.target[None]))
    ids = tokenizer.encode(triplet.text).ids
    assert batch.input_ids[3][: len(ids)].tolist() == ids
    assert batch.attention_mask.sum(1)[3] == len(ids)


def test_training_and_explaining_see_pictures_alike(tokenizer):
    (scene,) = scenes(5, 1, size=32, edits=1)
    processor = ReferenceProcessor(tokenizer, image_size=32)
    torch.testing.assert_close(pixels_to_tensor(scene.reference[None]), processor.normalise(scene.reference[None]))
