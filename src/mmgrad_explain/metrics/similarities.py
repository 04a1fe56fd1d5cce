"""Cosines of queries with the images of a gallery, of which each is one vector or several."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def similarities(queries: Tensor, gallery: Tensor) -> Tensor:
    """Compare every query with every image.

    Where an image is several vectors, the largest of their cosines counts, as in BLIP-2 (Li et al., arXiv 2301.12597)
    and SPRC (Bai et al., arXiv 2310.05473).

    Args:
        queries: Unit vectors, ``(N, D)``.
        gallery: Unit vectors, ``(M, D)``, or ``(M, Q, D)`` with Q of each image.

    Returns:
        ``(N, M)``.
    """
    if gallery.ndim == 2:
        return queries @ gallery.T
    every = queries @ gallery.flatten(0, 1).T
    return every.reshape(len(queries), *gallery.shape[:2]).amax(2)


def own_similarities(queries: Tensor, candidates: Tensor) -> Tensor:
    """Compare every query with candidates of its own.

    Args:
        queries: Unit vectors, ``(N, D)``.
        candidates: Unit vectors, ``(N, G, D)``, or ``(N, G, Q, D)`` with Q of each image.

    Returns:
        ``(N, G)``.
    """
    if candidates.ndim == 3:
        return (queries[:, None] * candidates).sum(-1)
    return (queries[:, None, None] * candidates).sum(-1).amax(2)
