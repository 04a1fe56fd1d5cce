"""How well a query finds its target. Pure functions on similarity matrices, one value a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def target_rank(similarity: Tensor, target: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Rank of the target among the candidates, 1 is best; a tie counts half.

    Args:
        similarity: Queries against gallery, ``(Q, G)``.
        target: Index of each query's target in the gallery, ``(Q,)``.
        candidates: Which gallery items take part, ``(Q, G)`` bool; all when None. The target always does.

    Returns:
        ``(Q,)`` float.

    Raises:
        ValueError: If a similarity is NaN.
    """
    if bool(similarity.isnan().any()):
        raise ValueError("similarity contains NaN: a ranking would be meaningless")
    own = similarity.gather(1, target[:, None])
    better, equal = similarity > own, similarity == own
    equal.scatter_(1, target[:, None], value=False)
    if candidates is not None:
        better, equal = better & candidates, equal & candidates
    return 1 + better.sum(1) + 0.5 * equal.sum(1)


def recall_at(rank: Tensor, k: int) -> Tensor:
    """Whether the target is among the first ``k``, ``(Q,)`` float."""
    return (rank <= k).float()
