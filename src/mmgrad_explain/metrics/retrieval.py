"""Figures of retrieval: pure functions on rows of a similarity matrix, one value a query.

A gallery image that is as similar as the target shares places with it. In ranks, and so in Recall@K, a tie counts half
a place: a model that finds all images alike has chance level or less, whatever the order of the gallery. Average
precision depends on that order; there, of equals, the wrong images come first.

A NaN similarity is an error, so that it never counts as a hit or a miss: no ranking can be made of it. A NaN rank is
something else: the target of that query is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def check_similarity(similarity: Tensor) -> None:
    """Check that every query can be ranked.

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
    """Find the rank of each query's target; 1 is best, a tie counts half.

    Args:
        similarity: Queries against gallery, ``(Q, G)``.
        target: Index of each target in the gallery, ``(Q,)``; -1 where it is not known.
        candidates: Which gallery images may be answers, ``(Q, G)`` bool; all when None.

    Returns:
        ``(Q,)`` float64: infinite where the target is no candidate, NaN where it is not known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    index = target.clamp(min=0)[:, None]
    found = similarity.gather(1, index)
    better, equal = similarity > found, similarity == found
    equal.scatter_(1, index, value=False)
    if candidates is not None:
        better, equal = better & candidates, equal & candidates
    rank = (1 + better.sum(1) + 0.5 * equal.sum(1)).double()
    if candidates is not None:
        rank[~candidates.gather(1, index)[:, 0]] = torch.inf
    rank[target < 0] = torch.nan
    return rank


def best_ranks(similarity: Tensor, relevant: Sequence[Tensor], candidates: Tensor | None = None) -> Tensor:
    """Find the rank of the best of several right answers.

    It is 1 plus the wrong candidates that come before it; those that are equal to it count half.

    Args:
        similarity: ``(Q, G)``.
        relevant: For each query the indices of the right answers; empty where they are not known.
        candidates: See :func:`target_ranks`.

    Returns:
        ``(Q,)`` float64; infinite where no right answer is a candidate, NaN where none is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    ranks = []
    for row, allowed, answers in _rows(similarity, candidates, relevant):
        wrong = allowed.clone()
        wrong[answers] = False
        rank = torch.tensor(torch.inf if len(answers) else torch.nan, dtype=torch.float64)
        right = row[answers[allowed[answers]]]
        if len(right):
            best = right.max()
            rank = 1 + (row[wrong] > best).sum().double() + 0.5 * (row[wrong] == best).sum().double()
        ranks.append(rank)
    return torch.stack(ranks)


def recall_at(rank: Tensor, k: int) -> Tensor:
    """Find which targets are among the first ``k``.

    Args:
        rank: ``(Q,)`` from :func:`target_ranks` or :func:`best_ranks`. A rank of ``k + 0.5``, a tie for the last place,
            is a miss.
        k: How many images are retrieved.

    Returns:
        ``(Q,)`` float32: 1 for a hit, 0 for a miss, NaN where the rank is NaN: a query whose target is not known is
        neither. Leave such queries out of the mean.
    """
    return torch.where(rank.isnan(), torch.nan, (rank <= k).float())


def soft_recall(
    similarity: Tensor, soft: Sequence[tuple[Tensor, Tensor]], ks: Sequence[int], candidates: Tensor | None = None
) -> Tensor:
    """Recall@K with graded targets: the best score among the retrieved images, at least 0.

    This is how CIRR's authors score (CIRPLANT; Liu et al., arXiv 2108.04024): a soft target's score is at most 1.

    Args:
        similarity: ``(Q, G)``.
        soft: For each query the indices of its soft targets in the gallery and their scores; both empty where they are
            not known.
        ks: Values of K.
        candidates: See :func:`target_ranks`.

    Returns:
        ``(Q, len(ks))`` float64; NaN where no soft target is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    rows = []
    for (row, allowed, index), (_, scores) in zip(
        _rows(similarity, candidates, [index for index, _ in soft]), soft, strict=True
    ):
        count = len(index)
        ranks = target_ranks(row.expand(count, -1), index, allowed.expand(count, -1)) if count else index.double()
        hit = ranks[None] <= torch.tensor(list(ks))[:, None]
        best = torch.where(hit, scores.double()[None], 0.0).clamp(min=0)
        rows.append(best.amax(1) if count else torch.full((len(ks),), torch.nan, dtype=torch.float64))
    return torch.stack(rows)


def average_precision(
    similarity: Tensor, relevant: Sequence[Tensor], ks: Sequence[int], candidates: Tensor | None = None
) -> Tensor:
    """Average precision at K, with several right answers; the mean over queries is CIRCO's mAP@K.

    ``AP@K = sum over k <= K of P@k * rel_k / min(number of right answers, K)`` (Baldrati et al., arXiv 2303.15247). Of
    equal similarities the wrong images come first.

    Args:
        similarity: ``(Q, G)``.
        relevant: For each query the indices of the right answers, each once; empty where they are not known.
        ks: Values of K.
        candidates: See :func:`target_ranks`. A right answer that is no candidate counts as not found.

    Returns:
        ``(Q, len(ks))`` float64 in [0, 1]; NaN where no right answer is known.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    cuts = torch.tensor(list(ks))
    rows = []
    for row, allowed, answers in _rows(similarity, candidates, relevant):
        if not len(answers):
            rows.append(torch.full((len(cuts),), torch.nan, dtype=torch.float64))
            continue
        found = row[answers[allowed[answers]]].sort(descending=True).values
        wrong = allowed.clone()
        wrong[answers] = False
        number = torch.arange(1, len(found) + 1)
        place = number + (row[wrong][None] >= found[:, None]).sum(1)
        gain = torch.where(place[None] <= cuts[:, None], (number / place.double())[None], 0.0).sum(1)
        rows.append(gain / cuts.clamp(max=len(answers)))
    return torch.stack(rows)


def best_first(similarity: Tensor, k: int, candidates: Tensor | None = None) -> list[Tensor]:
    """List the first K candidates of each query; equals in the order of the gallery.

    Args:
        similarity: ``(Q, G)``.
        k: How many at most.
        candidates: See :func:`target_ranks`.

    Returns:
        For each query indices into the gallery; fewer than K where there are fewer candidates.

    Raises:
        InputError: A similarity is NaN.
    """
    check_similarity(similarity)
    order = similarity.sort(dim=1, descending=True, stable=True).indices
    if candidates is None:
        return list(order[:, :k])
    return [row[allowed[row]][:k] for row, allowed in zip(order, candidates, strict=True)]


def _rows(
    similarity: Tensor, candidates: Tensor | None, indices: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    allowed = torch.ones_like(similarity, dtype=torch.bool) if candidates is None else candidates
    return list(zip(similarity, allowed, indices, strict=True))
