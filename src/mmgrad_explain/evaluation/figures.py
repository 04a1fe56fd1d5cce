"""Per-triplet figures of an evaluation and their means, and recall among targets and references."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.metrics.map_figures import CONTRAST
from mmgrad_explain.metrics.report import mean_of_known
from mmgrad_explain.metrics.retrieval import recall_at, target_ranks
from mmgrad_explain.metrics.similarities import similarities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TripletFigures:
    """Per-triplet figures, ``N`` triplets.

    Attributes:
        edits: Kind of each edit.
        on_target: Which maps were measured on the target, ``(N,)`` bool.
        maps: The figures of every map, by its name, each ``(N,)``: those that
            :func:`~mmgrad_explain.metrics.map_figures.figure_names` lists.
        contrast: For every map: whether it is brighter in its own region, ``(P,)`` over ordered pairs of texts about
            one image with disjoint regions; empty where there are none. The floor is 0.5.
        contrast_of: The triplet of the first text of each pair, ``(P,)``.
        recall: R@1 among all targets and references, ``(N,)``; None for maps that come from no model.
        sibling_recall: R@1 among the image's own targets and the image itself, ``(N,)``.
        gallery: Number of images to choose from.
        notices: What the composer noted about the texts, each once.
    """

    edits: list[str]
    on_target: Tensor
    maps: dict[str, dict[str, Tensor]]
    contrast: dict[str, Tensor]
    contrast_of: Tensor
    recall: Tensor | None = None
    sibling_recall: Tensor | None = None
    gallery: int = 0
    notices: list[str] = field(default_factory=list)

    def means(self, name: str, rows: Tensor | None = None) -> dict[str, float]:
        """Take the means of one map's figures, with contrast, over some triplets (``(N,)`` bool) or all."""
        rows = torch.ones(len(self.edits), dtype=torch.bool) if rows is None else rows
        means = {figure: mean_of_known(values[rows]) for figure, values in self.maps[name].items()}
        return {**means, CONTRAST: mean_of_known(self.contrast[name][rows[self.contrast_of]])}

    def by_edit(self, values: Tensor) -> dict[str, float]:
        """Take the mean of per-triplet values ``(N,)`` for each kind of edit."""
        return mean_by_kind(values, self.edits)


def mean_by_kind(values: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    """Take the mean of values ``(N,)`` for each of their kinds, sorted by name."""
    return {kind: float(values[[other == kind for other in kinds]].mean()) for kind in sorted(set(kinds))}


def measure_recall(
    queries: Tensor, targets: Tensor, references: Tensor, query_images: Tensor, reference_images: Tensor
) -> tuple[Tensor, Tensor]:
    """Measure R@1 among all targets and references, and among those of the query's own image.

    Args:
        queries: Unit embeddings, ``(N, D)``.
        targets: Unit embeddings of their targets, ``(N, D)``.
        references: Unit embeddings of the reference images, each once, ``(M, D)``.
        query_images: Which image each query is about, ``(N,)``.
        reference_images: Which image each reference is, ``(M,)``.

    Returns:
        Both, ``(N,)`` float, 0 or 1.

    Raises:
        InputError: An embedding is NaN.
    """
    similarity, truth = similarities(queries, torch.cat([targets, references])), torch.arange(len(queries))
    siblings = query_images[:, None] == torch.cat([query_images, reference_images])[None]
    ranks = target_ranks(similarity, truth), target_ranks(similarity, truth, siblings)
    return recall_at(ranks[0], 1), recall_at(ranks[1], 1)
