"""Batches as arrays and as tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.data.batches.batch import (
    IGNORE,
    encode_batch,
    find_partners,
    find_unmoved,
    join_batches,
    take_images,
)
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


def test_soft_masks_paraphrases_and_numbers_of_images_stay_with_their_rows(batch, tiny_processor):
    soft = batch.reference_masks * np.float32(0.25)
    texts = ["make it red", "", "", "", "", "move it"]
    known = replace(batch, reference_masks=soft, target_masks=soft, paraphrases=texts, mirrorable=np.arange(6) % 2 == 0,
                    reference_ids=np.array([4, 7]), target_ids=np.array([5, 6, 7, 8, 9, -1]))  # fmt: skip
    second = encode_batch(take_images(known, np.array([1])), tiny_processor)
    assert torch.equal(second.reference_masks, torch.from_numpy(soft[3:]))
    assert second.whole.unmoved.shape == (6,)
    assert second.paraphrased.tolist() == [False, False, True]
    assert second.paraphrase_ids.shape[0] == second.paraphrase_attention.shape[0] == 3
    expected = tiny_processor.encode_texts(["move it"])[0][0]
    assert torch.equal(second.paraphrase_ids[2][: len(expected)], expected)
    assert second.mirrorable.tolist() == [False, True, False]
    assert (second.reference_ids.tolist(), second.target_ids.tolist()) == ([7], [8, 9, -1])
    both = join_batches([known, batch, known])
    assert both.reference_masks.dtype == np.float32
    assert both.paraphrases == [*texts, *[""] * 6, *texts]
    assert both.mirrorable.tolist() == [True, False] * 3 + [False] * 6 + [True, False] * 3
    assert both.reference_ids.tolist() == [4, 7, -1, -1, 14, 17]
    assert both.target_ids.tolist() == [5, 6, 7, 8, 9, -1, *[-1] * 6, 15, 16, 17, 18, 19, -1]
    assert encode_batch(join_batches([batch, batch]), tiny_processor).paraphrase_ids is None


def test_soft_masks_are_unmoved_and_apart_by_what_they_mark():
    masks = torch.zeros(2, 4, 4)
    masks[0, 0], masks[1, 0], masks[1, 1] = 0.8, 0.2, 0.4
    supervised, edits = torch.ones(1, dtype=torch.bool), ["change"]
    assert find_unmoved(masks[:1], masks[:1], edits, supervised).tolist() == [True]
    assert find_unmoved(masks[:1], masks[1:], edits, supervised).tolist() == [False]
    apart = np.zeros((2, 4, 4), np.float32)
    apart[0, 0], apart[0, 1], apart[1, 1] = 0.9, 0.3, 0.7
    assert find_partners(apart, np.zeros(2, np.int64)).tolist() == [1, 0]
