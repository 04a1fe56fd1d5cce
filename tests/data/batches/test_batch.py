"""Batches as arrays and as tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.data.batches.batch import IGNORE, encode_batch, find_partners, join_batches
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions


@pytest.fixture(scope="module")
def batch():
    return SceneSource(32, SceneSourceOptions(pictures=2, edits=3), labels=True).batch(0, 0)


def test_encoding(batch, tiny_processor):
    tensors = encode_batch(batch, tiny_processor)
    assert tensors.references.shape == (2, 3, 32, 32)
    assert tensors.targets.shape == (6, 3, 32, 32)
    torch.testing.assert_close(tensors.targets, tiny_processor.normalise(batch.targets))
    assert torch.equal(tensors.input_ids, tiny_processor.encode_texts(batch.texts)[0])
    assert torch.equal(tensors.reference_masks, torch.from_numpy(batch.reference_masks))
    assert set(tensors.reference_labels) == {"color", "shape", "size"}
    assert tensors.target_labels["shape"].shape == (6, 32, 32)
    moved = tensors.to("meta")
    assert moved.targets.device.type == moved.target_labels["size"].device.type == "meta"
    assert moved.texts == batch.texts


def test_pinning(batch, tiny_processor, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 0)
    tensors = encode_batch(batch, tiny_processor)
    pinned = tensors.pin_memory()
    assert pinned.targets is not tensors.targets
    assert torch.equal(pinned.targets, tensors.targets)
    assert pinned.edits == tensors.edits


def test_joining_counts_on(batch):
    other = replace(batch, reference_labels={"object": batch.reference_labels["size"]},
                    target_labels={"object": batch.target_labels["size"]})  # fmt: skip
    both = join_batches([batch, other])
    assert both.picture.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert both.texts == batch.texts * 2
    for i, j in enumerate(both.partner):
        assert (j >= 0) == (batch.partner[i % 6] >= 0)
        assert j < 0 or both.picture[i] == both.picture[j]
    assert set(both.reference_labels) == {"color", "shape", "size", "object"}
    assert (both.reference_labels["color"][2:] == IGNORE).all()
    assert (both.target_labels["object"][:6] == IGNORE).all()
    assert np.array_equal(both.target_labels["object"][6:], batch.target_labels["size"])
    assert join_batches([batch]) is batch


def test_joining_needs_one_size(batch):
    large = SceneSource(48, SceneSourceOptions(pictures=1)).batch(0, 0)
    with pytest.raises(InputError, match="images of one size to be mixed in a batch, not"):
        join_batches([batch, large])


def test_partners_are_of_the_same_picture_and_apart():
    masks = np.zeros((5, 4, 4), bool)
    masks[0, 0] = masks[1, 3] = masks[2, 0, 0] = masks[3, 3] = True
    assert find_partners(masks, np.array([0, 0, 0, 1, 1])).tolist() == [1, 2, 1, -1, -1]
