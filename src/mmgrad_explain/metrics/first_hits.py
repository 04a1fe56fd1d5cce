"""How many of the first hits of a search are right, where several images are."""

from __future__ import annotations

import torch
from torch import Tensor


def share_of_right_hits(similar: Tensor, right: Tensor, candidates: Tensor | None = None, *, most: int = 8) -> Tensor:
    """Return the share of right images in the first n hits, n the number of right images but at most ``most``.

    With n as large as the number of right images this is the R-precision (Manning et al., Introduction to Information
    Retrieval, 2008, section 8.4).

    Args:
        similar: Similarity of each query to each image, ``(N, M)``.
        right: Which images are what the query asks for, ``(N, M)`` bool.
        candidates: Which images are searched, ``(N, M)`` bool; all if None.
        most: Hits that are looked at.

    Returns:
        ``(N,)`` in [0, 1]; NaN where no image is right.
    """
    if candidates is not None:
        similar, right = similar.masked_fill(~candidates, -torch.inf), right & candidates
    count = right.sum(1)
    hits = right.gather(1, similar.argsort(1, descending=True)).float()
    wanted = count.clamp(max=most)
    first = torch.arange(hits.shape[1], device=hits.device)[None] < wanted[:, None]
    shares = (hits * first).sum(1) / wanted.clamp(min=1)
    return shares.masked_fill(count == 0, torch.nan)
