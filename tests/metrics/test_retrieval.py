"""Ranks, recall and precision against slow loops in plain Python floats."""

import math

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.retrieval import (
    average_precision,
    best_first,
    best_ranks,
    recall_at,
    soft_recall,
    target_ranks,
)

QUERIES, GALLERY = 40, 30
KS = (1, 2, 3, 5, 10, 25, 50)


def random_case(seed, *, ties):
    """Similarities (with many equals, if ``ties``), candidates and right answers."""
    make = torch.Generator().manual_seed(seed)
    similarity = torch.randn(QUERIES, GALLERY, generator=make)
    if ties:
        similarity = similarity.mul(2).round() / 2
    candidates = torch.rand(QUERIES, GALLERY, generator=make) < 0.8
    counts = torch.randint(1, 8, (QUERIES,), generator=make)
    relevant = [torch.randperm(GALLERY, generator=make)[:count] for count in counts]
    return similarity, candidates, relevant


def slow_rank(row, candidates, wanted, right=()):
    """The middle of the best and the worst place that the wanted picture can have among the wrong candidates."""
    others = [i for i in range(len(row)) if candidates[i] and i != wanted and i not in right]
    best = 1 + sum(row[i] > row[wanted] for i in others)
    worst = 1 + sum(row[i] >= row[wanted] for i in others)
    return (best + worst) / 2 if candidates[wanted] else math.inf


def slow_average_precision(row, candidates, right, k):
    """AP@K by walking down the list; of equals the wrong come first."""
    order = sorted((i for i in range(len(row)) if candidates[i]), key=lambda i: (-row[i], i in right))
    hits = total = 0.0
    for place, i in enumerate(order[:k], 1):
        if i in right:
            hits += 1
            total += hits / place
    return total / min(len(right), k)


@pytest.mark.parametrize("ties", [False, True])
def test_ranks(ties):
    similarity, candidates, relevant = random_case(0, ties=ties)
    target = torch.tensor([answers[0] for answers in relevant])
    rows, allowed = similarity.double().tolist(), candidates.tolist()
    everything = [True] * GALLERY
    slow = [slow_rank(row, own, int(t)) for row, own, t in zip(rows, allowed, target, strict=True)]
    assert target_ranks(similarity, target, candidates).tolist() == slow
    slow = [slow_rank(row, everything, int(t)) for row, t in zip(rows, target, strict=True)]
    assert target_ranks(similarity, target).tolist() == slow
    best = [
        min(slow_rank(row, own, i, right) for i in right)
        for row, own, right in zip(rows, allowed, [r.tolist() for r in relevant], strict=True)
    ]
    assert best_ranks(similarity, relevant, candidates).tolist() == best
    assert best_ranks(similarity, [t[None] for t in target]).tolist() == slow
    assert math.inf in best


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision(ties):
    similarity, candidates, relevant = random_case(1, ties=ties)
    fast = average_precision(similarity, relevant, KS, candidates)
    open_to_all = average_precision(similarity, relevant, KS)
    assert fast.dtype == torch.float64
    for i, row in enumerate(similarity.double().tolist()):
        right = set(relevant[i].tolist())
        own = candidates[i].tolist()
        for j, k in enumerate(KS):
            assert float(fast[i, j]) == pytest.approx(slow_average_precision(row, own, right, k), abs=1e-12)
            assert float(open_to_all[i, j]) == pytest.approx(
                slow_average_precision(row, [True] * GALLERY, right, k), abs=1e-12
            )


def test_average_precision_by_hand():
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
    found = average_precision(similarity, [torch.tensor([0, 2, 4])], (1, 2, 3, 5))
    assert found[0].tolist() == pytest.approx([1, 1 / 2, (1 + 2 / 3) / 3, (1 + 2 / 3 + 3 / 5) / 3])
    level = torch.ones(1, 5)  # all alike: the wrong ones first
    assert average_precision(level, [torch.tensor([0, 1])], (3, 5))[0].tolist() == pytest.approx(
        [0, (1 / 4 + 2 / 5) / 2]
    )


@pytest.mark.parametrize("ties", [False, True])
def test_soft_recall(ties):
    similarity, candidates, relevant = random_case(2, ties=ties)
    grades = (1.0, 0.5, 0.2, -1.0)
    soft = [(r, torch.tensor([grades[(q + i) % 4] for i in range(len(r))])) for q, r in enumerate(relevant)]
    fast = soft_recall(similarity, soft, KS, candidates)
    for q, row in enumerate(similarity.double().tolist()):
        index, scores = soft[q][0].tolist(), soft[q][1].double().tolist()
        ranks = [slow_rank(row, candidates[q].tolist(), i) for i in index]
        for j, k in enumerate(KS):
            slow = max([0.0, *(s for rank, s in zip(ranks, scores, strict=True) if rank <= k)])
            assert float(fast[q, j]) == slow
    assert set(fast.flatten().tolist()) > {0.0, 1.0}
    assert soft_recall(similarity, soft, (GALLERY,)).shape == (QUERIES, 1)


def test_recall_counts_a_tie_half():
    similarity = torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.4, 0.5]])
    ranks = target_ranks(similarity, torch.tensor([0, 1]))
    assert ranks.tolist() == [1.5, 3]
    assert [recall_at(ranks, k).tolist() for k in (1, 2, 3)] == [[0, 0], [1, 0], [1, 1]]


def test_a_model_that_finds_everything_alike_gains_nothing():
    similarity = torch.zeros(100, 1000)
    ranks = target_ranks(similarity, torch.arange(100))
    assert float(recall_at(ranks, 50).mean()) == 0
    assert float(average_precision(similarity, list(torch.arange(100)[:, None]), (50,)).mean()) == 0


def test_a_tie_for_the_last_place_is_a_miss():
    assert recall_at(torch.tensor([1.0, 1.5, 2.0]), 1).tolist() == [1.0, 0.0, 0.0]
    assert recall_at(torch.tensor([math.inf]), 10**6).tolist() == [0.0]


def test_nan_is_neither_a_hit_nor_a_miss():
    """A rank that is not known stays out of the mean; a similarity that is NaN gives no rank at all."""
    found = recall_at(torch.tensor([1.0, math.nan, 3.0], dtype=torch.float64), 2)
    assert found.dtype == torch.float32
    assert found.isnan().tolist() == [False, True, False]
    assert found.nanmean() == 0.5
    with pytest.raises(InputError, match="1 of 1 queries have NaN"):
        target_ranks(torch.tensor([[math.nan, 1.0]]), torch.tensor([0]))
    with pytest.raises(InputError, match="1 of 1 queries have NaN"):  # of a wrong image
        target_ranks(torch.tensor([[math.nan, 1.0]]), torch.tensor([1]))


def test_targets_that_are_not_known():
    similarity = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    ranks = target_ranks(similarity, torch.tensor([-1, 2]))
    assert ranks.isnan().tolist() == [True, False]
    assert recall_at(ranks, 4).isnan().tolist() == [True, False]
    none = torch.tensor([], dtype=torch.long)
    relevant = [none, torch.tensor([2])]
    assert best_ranks(similarity, relevant).isnan().tolist() == [True, False]
    assert average_precision(similarity, relevant, (1, 2)).isnan()[:, 0].tolist() == [True, False]
    soft = [(none, none.double()), (torch.tensor([2]), torch.tensor([1.0]))]
    assert soft_recall(similarity, soft, (4,)).isnan()[:, 0].tolist() == [True, False]


def test_targets_that_are_no_candidates():
    similarity, removed = torch.tensor([[0.9, 0.5]]), torch.tensor([[False, True]])
    assert target_ranks(similarity, torch.tensor([0]), removed).tolist() == [math.inf]
    assert best_ranks(similarity, [torch.tensor([0])], removed).tolist() == [math.inf]
    assert average_precision(similarity, [torch.tensor([0])], (1, 2), removed).tolist() == [[0, 0]]
    assert soft_recall(similarity, [(torch.tensor([0]), torch.tensor([1.0]))], (2,), removed).tolist() == [[0]]


def test_the_first_ones():
    similarity = torch.tensor([[0.1, 0.5, 0.5, 0.9], [0.0, 0.0, 0.0, 0.0]])
    assert [row.tolist() for row in best_first(similarity, 3)] == [[3, 1, 2], [0, 1, 2]]
    assert best_first(torch.zeros(1, 5000), 50)[0].tolist() == list(range(50))
    candidates = torch.tensor([[True, False, True, False], [False, True, True, True]])
    assert [row.tolist() for row in best_first(similarity, 3, candidates)] == [[2, 0], [1, 2, 3]]


@pytest.mark.parametrize(
    "figure",
    [
        lambda s: target_ranks(s, torch.tensor([0, 0])),
        lambda s: best_ranks(s, [torch.tensor([0])] * 2),
        lambda s: average_precision(s, [torch.tensor([0])] * 2, (1,)),
        lambda s: soft_recall(s, [(torch.tensor([0]), torch.tensor([1.0]))] * 2, (1,)),
        lambda s: best_first(s, 1),
    ],
)
def test_nan_is_an_error(figure):
    with pytest.raises(InputError, match=r"similarity: 1 of 2 queries have NaN, and .* \(half precision\?\)"):
        figure(torch.tensor([[0.1, 0.2], [0.1, math.nan]]))
