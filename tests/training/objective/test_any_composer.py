"""The objective with composers of every kind: one with a forward alone, CLIP in stages, and what is refused."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from mmgrad_explain.attention.scores.base import CallableScore
from mmgrad_explain.attention.scores.embedding import TextShift
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import DenseOptions, ObjectiveOptions, RetrievalOptions


class Output(NamedTuple):
    embedding: torch.Tensor
    shift: torch.Tensor
    target: torch.Tensor | None = None
    target_shift: torch.Tensor | None = None


class Plain(Composer):
    def __init__(self, processor):
        super().__init__()
        self.processor = processor

    def preprocess(self, images, texts, targets=None):
        return self.processor(images, texts, targets)


class Tiled(Plain):
    """A composer that offers nothing but a forward, gated by the mean of its words."""

    target_layer = "grid"

    def __init__(self, processor):
        super().__init__(processor)
        self.grid = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU())
        self.words = nn.Embedding(processor.tokenizer.get_vocab_size(), 8)
        self.out = nn.Linear(8, 8)

    def save_pretrained(self, folder):
        torch.save(self.state_dict(), folder / "weights.pt")

    def forward(self, pixel_values, input_ids, attention_mask, target_pixel_values=None):
        gate = self.words(input_ids).mean(1)
        one, shift = self.side(pixel_values, gate)
        if target_pixel_values is None:
            return Output(one + shift, shift)
        two, other = self.side(target_pixel_values, gate)
        return Output(one + shift, shift, two, other)

    def side(self, pixels, gate):
        pooled = self.grid(pixels).square().mean((2, 3))
        return self.out(pooled), self.out(pooled * gate)


def test_any_composer_with_a_forward_is_trained(tiny_processor, batch, objective, rng):
    torch.manual_seed(0)
    composer = Tiled(tiny_processor)
    made = objective(composer)
    assert capabilities(composer).training_stages is None
    assert made.logit_scale is not None
    losses = made(batch, rng())
    losses.total.backward()
    assert losses.figures["dice"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    plain = objective(composer, weight=0)(batch, rng())
    torch.testing.assert_close(plain.total, losses.retrieval)


def test_clip_is_trained_in_stages(clip_folder, objective, rng, source):
    composer = ClipComposer.from_clip(clip_folder, width=16)
    assert capabilities(composer).training_stages is composer
    batch = encode_batch(source.batch(3, 0), composer.processor)
    made = objective(composer.eval(), dense=0.5)
    assert made.logit_scale is None
    losses = made(batch, rng())
    losses.total.backward()
    blocks = composer.clip.vision_model.encoder.layers
    assert blocks[0].mlp.fc1.weight.grad.abs().sum() > 0
    assert composer.combiner.mix[0].weight.grad.abs().sum() > 0
    other = objective(composer, dense=0.5)
    other.passes.score = CallableScore(TextShift(), "the same by another name")
    whole = other(batch, rng())
    torch.testing.assert_close(losses.grounding, whole.grounding, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(losses.retrieval, whole.retrieval, rtol=1e-3, atol=1e-4)


def test_clip_checkpoints_its_own_blocks(clip_folder, objective, rng, source):
    composer = ClipComposer.from_clip(clip_folder, width=16).eval()
    batch = encode_batch(source.batch(3, 0), composer.processor)
    totals, gradients = [], []
    for checkpointing in (False, True):
        made = objective(composer, checkpointing=checkpointing)
        assert composer.checkpointing == checkpointing
        assert not made.passes.checkpointing
        composer.zero_grad()
        losses = made(batch, rng())
        losses.total.backward()
        totals.append(losses.total.item())
        gradients.append(composer.clip.vision_model.encoder.layers[0].mlp.fc1.weight.grad.clone())
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_a_composer_that_cannot_be_trained_is_refused(composer, tiny_processor, batch, objective, rng):
    with pytest.raises(InputError, match=r"dense.weight: none of the sources has label maps"):
        GroundedObjective(composer, ObjectiveOptions(dense=DenseOptions(1.0)))
    with pytest.raises(
        InputError, match=r"Plain cannot be trained: it has no processor.image_size \(one .*target_layer \(dotted"
    ):
        objective(Plain(None))
    with pytest.raises(InputError, match=r"dense.weight: this composer offers no feature grid by itself"):
        objective(Tiled(tiny_processor), dense=1.0)
    with pytest.raises(InputError, match=r"grounding.pooling: Tiled names no pooling_layer; set it to 0"):
        objective(Tiled(tiny_processor), pooling=1.0)
    with pytest.raises(InputError, match="there are no label heads to train alone"):
        objective(composer)(batch, rng(), dense_only=True)
    with pytest.raises(InputError, match="precision must be one of"):
        ObjectiveOptions(precision="fp8")


def test_a_memory_needs_the_length_of_the_embeddings(tiny_processor, objective):
    with pytest.raises(InputError, match=r"retrieval\.memory: this composer does not say how long its embeddings are"):
        objective(Tiled(tiny_processor), memory=8)
    with pytest.raises(InputError, match=r"retrieval\.memory must be at least 0, got -1"):
        RetrievalOptions(memory=-1)
