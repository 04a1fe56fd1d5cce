"""Comparing queries with images of which it is known what they show."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.data.batches.facts import UNKNOWN, Facts
from mmgrad_explain.training.objective.comparison import compare, forget_twins, join_ids, siblings
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import GroundingOptions, ObjectiveOptions, RetrievalOptions
from mmgrad_explain.training.objective.terms import ACROSS_SCALE, across_loss


def int8(*rows):
    return torch.tensor(rows, dtype=torch.int8)


@pytest.fixture
def known(batch):
    """Two references with three edits each; the last edit of each shows another photograph."""
    facts = Facts(
        references=int8([0, 1], [0, 0]),
        targets=int8([1, 1], [0, 1], [1, -1], [1, 0], [0, 0], [-1, 1]),
        asks=int8([1, -1], [-1, -1], [1, -1], [1, -1], [-1, 0], [-1, 1]),
        reference_photos=torch.tensor([4, 7]),
        target_photos=torch.tensor([4, 4, 7, 7, 7, 9]),
    )
    return replace(batch, facts=facts)


def test_other_peoples_matches_are_positives_and_no_negatives(known):
    cosine = torch.rand(6, 8)
    similar = 3 * cosine
    loss, figures = compare(cosine, torch.tensor(3.0), torch.arange(6), known, known.facts.gallery.int(), 8, 0.5)
    own = [0, 1, 3, 4]
    masked = similar.clone()
    masked[0, [2, 3]] = masked[3, 0] = -torch.inf  # images 2 and 3 show what text 0 asks for, image 0 what text 3 does
    masked[4, []] = -torch.inf
    expected = F.cross_entropy(masked[own], torch.tensor(own))
    torch.testing.assert_close(figures["retrieval"], expected)
    right = torch.zeros(6, 8, dtype=torch.bool)
    wrong = torch.zeros(6, 8, dtype=torch.bool)
    right[0, [2, 3]] = right[2, [2, 3]] = right[3, 0] = True
    wrong[0, [4, 7]] = wrong[2, [4, 7]] = wrong[3, [1, 6]] = True
    wrong[4, [0, 1, 5, 6]] = True
    right[5, [0, 1, 5, 6]] = True  # images 3, 4 and 7 are its own photograph's
    torch.testing.assert_close(figures["across"], across_loss(cosine, right, wrong))
    torch.testing.assert_close(loss, expected + 0.5 * figures["across"])


def test_the_loss_across_images_in_closed_form():
    similar = torch.tensor([[0.2, 0.1, 0.0], [0.1, 0.2, 0.3]], requires_grad=True)
    right = torch.tensor([[True, True, False], [False, False, False]])
    memory = torch.full((2, 2), -torch.inf)  # is not filled yet, neither right nor wrong
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    loss = across_loss(torch.cat([similar, memory], 1), torch.cat([right, nothing], 1), torch.cat([~right, nothing], 1))
    torch.testing.assert_close(loss, F.softplus(ACROSS_SCALE * torch.tensor([-0.2, -0.1])).mean())
    loss.backward()
    assert similar.grad.isfinite().all()
    assert not similar.grad[1].any()
    assert across_loss(similar[1:], right[1:], ~right[1:]) == 0


def test_earlier_images_of_the_own_photograph_are_not_compared(known):
    similar = torch.randn(6, 9)
    gallery = torch.cat([known.facts.gallery, torch.tensor([[4, 1, 1]])]).int()
    _, figures = compare(similar, torch.tensor(1.0), torch.arange(6), known, gallery, 8, 0.0)
    masked = similar.clone()
    masked[:3, 8] = -torch.inf
    torch.testing.assert_close(figures["retrieval"], F.cross_entropy(masked[[0, 1, 3, 4]], torch.tensor([0, 1, 3, 4])))


def test_siblings_are_copies_of_one_reference(known, batch):
    numbers = siblings(known).tolist()
    assert numbers[:2] == [0, 0]
    assert numbers[3:5] == [1, 1]
    assert len({numbers[2], numbers[5], 0, 1}) == 4
    assert siblings(batch) is batch.picture


def test_the_memory_knows_what_its_images_show(composer, known, rng, source):
    options = ObjectiveOptions(GroundingOptions(weight=0), retrieval=RetrievalOptions(memory=12, across=1.0))
    made = GroundedObjective(composer, options, facts=2)
    made(known, rng())
    assert made.memory_facts[:8].tolist() == known.facts.gallery.tolist()
    assert (made.memory_facts[8:] == UNKNOWN).all()
    losses = made(encode_batch(source.batch(4, 0), composer.processor), rng())  # a batch without facts
    assert losses.total.isfinite()
    assert (made.memory_facts[:8] == UNKNOWN).all()
    assert made.memory_facts[8:].tolist() == known.facts.gallery[:4].tolist()
    again = made(known, rng())
    assert again.figures["across"] > 0


@pytest.mark.parametrize("across", [0.0, 1.0])
def test_gradients_are_finite_while_the_memory_fills(composer, known, rng, across):
    options = ObjectiveOptions(GroundingOptions(weight=0), retrieval=RetrievalOptions(memory=30, across=across))
    made = GroundedObjective(composer, options, facts=2)
    for _ in range(3):
        made.zero_grad()
        losses = made(known, rng())
        losses.total.backward()
        assert losses.total.isfinite()
        assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)
        assert composer.network.logit_scale.grad is not None


def test_an_image_that_is_the_target_once_more_is_no_negative(batch):
    ids = replace(batch, target_ids=torch.tensor([1, 2, -1, 4, 1, -1]), reference_ids=torch.tensor([2, 9]))
    numbers = join_ids(ids, 6)
    cosine = forget_twins(torch.zeros(6, 8), ids, numbers, torch.arange(6))
    left_out = [(0, 4), (1, 6), (4, 0)]  # not (2, 5): nothing is known of these two
    assert cosine.isinf().nonzero().tolist() == [list(place) for place in left_out]
    assert forget_twins(cosine, batch, join_ids(batch, 6), torch.arange(6)) is cosine
    remembered = torch.tensor([-1, int(ids.target_ids[0])])
    assert forget_twins(torch.zeros(6, 2), ids, remembered)[0].tolist() == [0, -torch.inf]  # no target is among them
