"""The retrieval losses of the objective beyond InfoNCE of a batch: the change, and the memory of earlier batches."""

import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.training.held_out_figures import inputs_of


def test_the_change_is_classified_among_the_edits_of_its_image(composer, batch, objective, rng):
    made = objective(composer, weight=0, change=0.5)
    losses = made(batch, rng())
    output = composer(**inputs_of(batch))
    change = output.target - (output.embedding - output.shift)
    expected = 0.0
    for i in range(len(batch.texts)):
        own = [j for j in range(len(batch.texts)) if batch.picture[j] == batch.picture[i]]
        cosines = torch.stack([F.cosine_similarity(output.shift[i], change[j], dim=0) for j in own])
        expected = expected - (10 * cosines).log_softmax(0)[own.index(i)] / len(batch.texts)
    torch.testing.assert_close(losses.figures["change"], expected.detach(), rtol=1e-4, atol=1e-4)
    plain = objective(composer, weight=0)(batch, rng())
    torch.testing.assert_close(losses.retrieval, plain.retrieval + 0.5 * expected, rtol=1e-4, atol=1e-4)
    assert "change" not in plain.figures


def test_images_of_earlier_batches_are_negatives(composer, batch, objective, rng, source):
    made = objective(composer, weight=0, memory=12)
    pictures = len(batch.references) + len(batch.texts)
    first, alone = made(batch, rng()), objective(composer, weight=0)(batch, rng())
    torch.testing.assert_close(first.retrieval, alone.retrieval)  # nothing is remembered yet
    other = encode_batch(source.batch(4, 0), composer.processor)
    second = made(other, rng())
    gallery = embeddings_of(composer, other)[1]
    seen = torch.cat([gallery, embeddings_of(composer, batch)[1]])
    logits = embeddings_of(composer, other)[0] @ seen.T * made.temperature()
    torch.testing.assert_close(
        second.retrieval, F.cross_entropy(logits, torch.arange(len(other.texts))), rtol=1e-4, atol=1e-4
    )
    newest = torch.cat([gallery, embeddings_of(composer, batch)[1]])[:12]
    assert pictures < 12 < 2 * pictures
    torch.testing.assert_close(made.memory, newest, rtol=1e-4, atol=1e-5)
    assert not made.memory.requires_grad


def test_an_evaluated_objective_remembers_nothing(composer, batch, objective, rng):
    made = objective(composer, weight=0, memory=8).eval()
    made(batch, rng())
    assert not made.memory.any()


def test_the_memory_is_part_of_a_checkpoint(composer, batch, objective, rng):
    made = objective(composer, weight=0, memory=8)
    made(batch, rng())
    again = objective(composer, weight=0, memory=8)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.memory, made.memory)
    assert "memory" not in objective(composer, weight=0).state_dict()


def embeddings_of(composer, batch):
    """Queries and gallery of a batch, targets first, normalised."""
    with torch.no_grad():
        output = composer(**inputs_of(batch))
        own = composer.network.embed(composer.network.encode_image(batch.references))
    return F.normalize(output.embedding, dim=-1), F.normalize(torch.cat([output.target, own]), dim=-1)
