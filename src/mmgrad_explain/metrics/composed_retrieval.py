"""Figures of composed retrieval: pure functions on rows of a similarity matrix, one value a query.

A gallery picture that is as similar as another shares places with it. In ranks, and so in Recall@K, a tie counts half a
place, as in :func:`~mmgrad_explain.metrics.retrieval.target_rank`: a model that finds all pictures alike has chance
level or less, whatever the gallery's order is. Average precision depends on the very order; there, of equals, the wrong
pictures come first. NaN is an error: nothing can be said about such a ranking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.retrieval import target_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def check_similarity(similarity: Tensor) -> None:
    """Make sure that there is something to rank by.

    Raises:
        InputError: A similarity is NaN.
    """
    count = int(similarity.isnan().any(1).sum())
    if count:
        raise InputError(
            f"similarity: {count} of {len(similarity)} queries have NaN, and a ranking would be meaningless; look for "
            "an overflow in the model (half precision?)"
        )


def target_ranks(similarity: Tensor, target: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Rank of each query's target, 1 is best; a tie counts half.

    Args:
        similarity: Queries against gallery, ``(Q, G)``.
        target: Index of each target in the gallery, ``(Q,)``; -1 where there is none.
        candidates: Which gallery pictures may be answers, ``(Q, G)`` bool; all when None.

    Returns:
        ``(Q,)`` float: infinite where the target is no candidate, NaN where there is none.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    known = target >= 0
    index = target.clamp(min=0)
    rank = target_rank(similarity, index, candidates).double()
    if candidates is not None:
        rank[~candidates.gather(1, index[:, None])[:, 0]] = torch.inf
    rank[~known] = torch.nan
    return rank


def best_ranks(similarity: Tensor, relevant: Sequence[Tensor], candidates: Tensor | None = None) -> Tensor:
    """Rank of the best of several right answers: 1 plus the wrong candidates before it, those level with it half.

    Args:
        similarity: ``(Q, G)``.
        relevant: Of each query the indices of the right answers; none where they are not known.
        candidates: See :func:`target_ranks`.

    Returns:
        ``(Q,)`` float; infinite where no right answer is a candidate, NaN where none is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    ranks = []
    for row, own, answers in _rows(similarity, candidates, relevant):
        wrong = own.clone()
        wrong[answers] = False
        rank = torch.tensor(torch.inf if len(answers) else torch.nan, dtype=torch.float64)
        right = row[answers[own[answers]]]
        if len(right):
            best = right.max()
            rank = 1 + (row[wrong] > best).sum().double() + 0.5 * (row[wrong] == best).sum().double()
        ranks.append(rank)
    return torch.stack(ranks)


def recall_at(rank: Tensor, k: int) -> Tensor:
    """Recall@K of ranks ``(Q,)``: 1 where the rank is at most K, else 0; NaN stays NaN."""
    return torch.where(rank.isnan(), rank, (rank <= k).to(rank))


def soft_recall(
    similarity: Tensor, soft: Sequence[tuple[Tensor, Tensor]], ks: Sequence[int], candidates: Tensor | None = None
) -> Tensor:
    """Recall@K with graded targets: the best score among the retrieved pictures, at least 0.

    As the code of CIRR's makers scores (CIRPLANT; Liu et al., arXiv 2108.04024): a soft target's score is at most 1.

    Args:
        similarity: ``(Q, G)``.
        soft: Of each query the indices of its soft targets in the gallery and their scores; both empty where they are
            not known.
        ks: Values of K.
        candidates: See :func:`target_ranks`.

    Returns:
        ``(Q, len(ks))`` float; NaN where no soft target is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    rows = []
    for (row, own, index), (_, scores) in zip(
        _rows(similarity, candidates, [index for index, _ in soft]), soft, strict=True
    ):
        count = len(index)
        ranks = target_ranks(row.expand(count, -1), index, own.expand(count, -1)) if count else index.double()
        hit = ranks[None] <= torch.tensor(list(ks))[:, None]
        best = torch.where(hit, scores.double()[None], 0.0).clamp(min=0)
        rows.append(best.amax(1) if count else torch.full((len(ks),), torch.nan, dtype=torch.float64))
    return torch.stack(rows)


def average_precision(
    similarity: Tensor, relevant: Sequence[Tensor], ks: Sequence[int], candidates: Tensor | None = None
) -> Tensor:
    """Average precision at K, with several right answers; the mean over queries is CIRCO's mAP@K.

    ``AP@K = sum over k <= K of P@k * rel_k / min(number of right answers, K)`` (Baldrati et al., arXiv 2303.15247). Of
    equal similarities the wrong pictures come first.

    Args:
        similarity: ``(Q, G)``.
        relevant: Of each query the indices of the right answers, each once; none where they are not known.
        ks: Values of K.
        candidates: See :func:`target_ranks`. A right answer that is no candidate is not found, and counts.

    Returns:
        ``(Q, len(ks))`` float in [0, 1]; NaN where no right answer is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    cuts = torch.tensor(list(ks))
    rows = []
    for row, own, answers in _rows(similarity, candidates, relevant):
        if not len(answers):
            rows.append(torch.full((len(cuts),), torch.nan, dtype=torch.float64))
            continue
        found = row[answers[own[answers]]].sort(descending=True).values
        wrong = own.clone()
        wrong[answers] = False
        number = torch.arange(1, len(found) + 1)
        place = number + (row[wrong][None] >= found[:, None]).sum(1)
        gain = torch.where(place[None] <= cuts[:, None], (number / place.double())[None], 0.0).sum(1)
        rows.append(gain / cuts.clamp(max=len(answers)))
    return torch.stack(rows)


def best_first(similarity: Tensor, k: int, candidates: Tensor | None = None) -> list[Tensor]:
    """The first K candidates of each query; equals in the order of the gallery.

    Args:
        similarity: ``(Q, G)``.
        k: How many at most.
        candidates: See :func:`target_ranks`.

    Returns:
        Of each query indices into the gallery, fewer than K where there are not so many candidates.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    order = similarity.sort(dim=1, descending=True, stable=True).indices
    if candidates is None:
        return list(order[:, :k])
    return [row[own[row]][:k] for row, own in zip(order, candidates, strict=True)]


def _rows(
    similarity: Tensor, candidates: Tensor | None, indices: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    own = torch.ones_like(similarity, dtype=torch.bool) if candidates is None else candidates
    return list(zip(similarity, own, indices, strict=True))
