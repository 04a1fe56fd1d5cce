"""The objective: its formula, the parts that it trains, and both ways to run the composer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.attention.scores.base import CallableScore
from mmgrad_explain.attention.scores.embedding import TextShift
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.grounding import dice_loss, grounding_targets
from mmgrad_explain.training.objective.options import GroundingOptions
from mmgrad_explain.training.objective.supervision import draw_rows
from mmgrad_explain.training.objective.terms import pooling_loss
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions


def test_retrieval_is_infonce_against_targets_and_references(composer, batch, objective, rng):
    losses = objective(composer, weight=0)(batch, rng())
    output = composer(
        batch.references[batch.picture], batch.input_ids, batch.attention_mask, target_pixel_values=batch.targets
    )
    references = (output.embedding - output.shift)[[0, 3]]
    gallery = F.normalize(torch.cat([output.target, references]), dim=-1)
    logits = F.normalize(output.embedding, dim=-1) @ gallery.T * composer.network.logit_scale.exp()
    torch.testing.assert_close(losses.retrieval, F.cross_entropy(logits, torch.arange(6)), rtol=1e-4, atol=1e-5)
    assert losses.total is losses.retrieval or losses.total.item() == losses.retrieval.item()


def test_the_grounding_loss_is_the_formula(composer, batch, objective, rng):
    """Dice of Grad-CAM and HiResCAM of <d, sg(d)>, written out with autograd."""
    made = objective(composer, weight=2.0)
    losses = made(batch, rng(), 0.5)
    rows = draw_rows(batch, made.options.grounding, rng())
    network = composer.network
    features = network.encode_image(
        torch.cat([batch.references[batch.picture[rows.reference]], batch.targets[rows.target]])
    )
    looked = features.detach().requires_grad_()
    chosen = rows.every
    mask = batch.attention_mask[chosen].bool()
    shift = network.change(looked, *network.text(batch.input_ids[chosen], mask), mask)
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), looked)
    masks = torch.cat([batch.reference_masks[rows.reference], batch.target_masks[rows.target]])
    where = grounding_targets((8, 8), masks=masks).masks
    gradcam = (gradient.mean((2, 3), keepdim=True) * looked).sum(1)
    hirescam = (gradient * looked).sum(1)
    expected = (dice_loss(gradcam, where).mean() + dice_loss(hirescam, where).mean()) / 2
    torch.testing.assert_close(losses.grounding.detach(), 0.5 * 2 * expected.detach(), rtol=1e-3, atol=1e-4)
    assert losses.figures["dice"].item() == pytest.approx(expected.item(), abs=1e-4)
    assert losses.total.item() == pytest.approx((losses.retrieval + losses.grounding).item())


def test_the_grounding_loss_trains_every_part(composer, batch, objective, rng):
    losses = objective(composer)(batch, rng())
    losses.grounding.backward()
    for part in ("visual", "neck", "text", "shift"):
        gradients = [p.grad for p in getattr(composer.network, part).parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), part
    assert all(p.grad is None or p.grad.isfinite().all() for p in composer.parameters())


@pytest.mark.parametrize("schedule", [0.0, 1.0])
def test_without_grounding_there_is_no_second_order_work(composer, batch, schedule, monkeypatch, objective, rng):
    from mmgrad_explain.attention import MultiModalGradAttention

    monkeypatch.setattr(MultiModalGradAttention, "attend", None)
    losses = objective(composer, weight=float(schedule == 0))(batch, rng(), schedule)
    assert losses.grounding.item() == 0
    assert not losses.grounding.requires_grad
    assert set(losses.figures) == {"retrieval", "accuracy"}


@pytest.mark.parametrize(
    "terms", [{}, {"contrast": 1.0, "margin": 1.0, "consistency": 1.0, "pooling": 0.5, "share": 0.7}]
)
def test_both_ways_forward_are_the_same(composer, batch, terms, objective, rng):
    """Each picture encoded once, or the composer's whole forward: equal losses and gradients."""
    one = objective(composer, **terms)
    other = objective(composer, **terms)
    other.passes.score = CallableScore(TextShift(), "the same by another name")
    made = []
    for each in (one, other):
        composer.zero_grad()
        losses = each(batch, rng())
        losses.total.backward()
        made.append((losses, [p.grad.clone() for p in composer.parameters() if p.grad is not None]))
    (first, gradients), (second, others) = made
    assert first.figures.keys() == second.figures.keys()
    torch.testing.assert_close(first.total, second.total, rtol=1e-4, atol=1e-5)
    for a, b in zip(gradients, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-4)


def test_terms_have_their_weights(composer, batch, objective, rng):
    losses = objective(composer, weight=2.0, contrast=0.5, margin=0.25, consistency=3.0, pooling=0.1)(batch, rng())
    figures = losses.figures
    parts = {"dice": 2.0, "contrast": 0.5, "margin": 0.25, "consistency": 3.0, "pooling": 0.1}
    assert set(figures) == {"retrieval", "accuracy", "dead", *parts}
    total = sum(weight * figures[name] for name, weight in parts.items())
    assert losses.grounding.item() == pytest.approx(total.item(), rel=1e-4)
    assert all(not value.requires_grad for value in figures.values())


def test_pooling_alone_needs_no_map(composer, batch, objective, rng):
    losses = objective(composer, weight=0, pooling=0.5)(batch, rng())
    assert set(losses.figures) == {"retrieval", "accuracy", "pooling"}
    losses.grounding.backward()
    assert composer.network.shift.pooling.query.weight.grad.abs().sum() > 0


def test_precisions_agree(composer, batch, objective, rng):
    exact = objective(composer)(batch, rng())
    for precision in ("bf16", "bf16-composer"):
        losses = objective(composer, precision=precision)(batch, rng())
        assert losses.total.dtype == torch.float32
        assert losses.total.item() == pytest.approx(exact.total.item(), abs=0.15)
        losses.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in composer.parameters())


def test_checkpointing_changes_nothing_but_memory(composer, batch, monkeypatch, objective, rng):
    from mmgrad_explain.training.objective import forward_pass as module

    monkeypatch.setattr(module, "CHUNK", 3)
    made = []
    for checkpointing in (False, True):
        composer.zero_grad()
        losses = objective(composer, checkpointing=checkpointing)(batch, rng())
        losses.total.backward()
        made.append((losses.total.item(), composer.network.visual.conv1[0].weight.grad.clone()))
    assert made[0][0] == pytest.approx(made[1][0], rel=1e-5)
    torch.testing.assert_close(made[0][1], made[1][1], rtol=1e-3, atol=1e-5)


def test_a_few_steps_on_one_batch_learn_it(composer, tiny_processor, objective, rng):
    """Both losses fall: the objective trains."""
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=3, edits=2)).batch(3, 0), tiny_processor)
    made = objective(composer)
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        losses = made(batch, rng())
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        history.append((float(losses.retrieval.detach()), float(losses.figures["dice"])))
    first, last = history[0], np.mean(history[-5:], axis=0)
    assert last[0] < 0.8 * first[0], history[::10]
    assert last[1] < first[1] - 0.1, history[::10]


def test_label_heads_add_their_loss_or_train_alone(composer, batch, objective, rng):
    made = objective(composer, dense=0.5)
    losses = made(batch, rng())
    assert losses.total.item() == pytest.approx((losses.retrieval + losses.grounding + 0.5 * losses.dense).item())
    alone = made(batch, rng(), dense_only=True)
    assert alone.total.item() == pytest.approx(0.5 * alone.dense.item())
    assert set(alone.figures) == {"dense"}
    alone.total.backward()
    assert composer.network.neck.project[2].weight.grad.abs().sum() > 0
    assert not any("heads." in name for name in composer.state_dict())


RELATED = SceneSource(
    32, SceneSourceOptions(pictures=4, edits=3, objects=(3, 5), relations=1.0, places=0.0), labels=True
)


def test_the_context_is_the_other_objects_in_a_text(composer, tiny_processor, objective, rng):
    """Asked where the ring is in "the star left of the ring", in the references alone."""
    batch = encode_batch(RELATED.batch(3, 0), tiny_processor)
    assert batch.context_masks.any((1, 2)).sum() > 2
    looked = []
    handle = composer.network.shift.context.where.register_forward_hook(lambda *call: looked.append(call[2]))
    losses = objective(composer, weight=0, context=0.5)(batch, rng())
    handle.remove()
    rows = draw_rows(batch, GroundingOptions(weight=0, context=0.5), rng())
    masks = torch.cat([batch.context_masks[rows.reference], torch.zeros_like(batch.target_masks[rows.target])])
    expected = pooling_loss(looked[0], masks, 2)
    torch.testing.assert_close(losses.figures["context"], expected)
    torch.testing.assert_close(losses.grounding, 0.5 * expected)
    losses.grounding.backward()
    assert composer.network.shift.context.query.weight.grad.abs().sum() > 0
    assert not composer.network.shift.context.where._forward_hooks


def test_without_context_masks_the_context_loss_is_zero(composer, batch, objective, rng):
    losses = objective(composer, weight=0, context=0.5)(replace(batch, context_masks=None), rng())
    assert losses.figures["context"] == 0
