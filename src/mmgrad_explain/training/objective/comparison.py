"""Compare queries with the images of a batch and of the memory: InfoNCE, and the loss across photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.facts import UNKNOWN, match_facts, same_photo
from mmgrad_explain.training.distributed import join_galleries, mean_over_all
from mmgrad_explain.training.objective.terms import across_loss

if TYPE_CHECKING:
    from torch import Tensor

    from mmgrad_explain.data.batches.batch import TripletBatch


def compare(
    cosine: Tensor,
    temperature: Tensor,
    truth: Tensor,
    batch: TripletBatch,
    known: Tensor | None,
    now: int,
    across: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute InfoNCE of edited copies, and the weighted loss across images of other photographs.

    A text that is right for images of other photographs as well has them as positives of the loss across images, and
    not as negatives of InfoNCE. Earlier images of the reference's own photograph, in the memory, are not compared.

    Args:
        cosine: Of queries and images, ``(N, M)``; minus infinity for images that do not count.
        temperature: Factor of the cosines in InfoNCE.
        truth: Index of each query's target, ``(N,)``.
        batch: The batch.
        known: Photograph and facts of each image, ``(M, 1 + F)``; the last ones may be of the memory. None if the
            source knows no facts.
        now: Number of images that are of this batch; the others are of the memory.
        across: Weight of the loss across images.

    Returns:
        The loss, and the figures of its parts.
    """
    there = cosine.isfinite()
    similar = (cosine.masked_fill(~there, 0) * temperature).masked_fill(~there, -torch.inf)
    own = copied(batch)
    missed = None
    if batch.facts is not None and known is not None:
        known = F.pad(known, (0, 0, 0, similar.shape[1] - len(known)), value=UNKNOWN)
        photos = batch.facts.reference_photos[batch.picture]
        same = same_photo(photos, known[:, 0])
        if across:
            right, wrong = match_facts(batch.facts.asks, known[:, 1:])
            missed = across_loss(cosine, right & ~same, wrong & ~same)
            similar = similar.masked_fill(right & ~same, -torch.inf)
        earlier = same & (torch.arange(len(known), device=same.device) >= now)
        similar = similar.masked_fill(earlier, -torch.inf)
    each = F.cross_entropy(similar.masked_fill(~own[:, None], 0), truth, reduction="none")
    loss = mean_over_all(each * own, own)
    found = (similar.detach().argmax(1) == truth).float()
    figures = {"retrieval": loss.detach(), "accuracy": mean_over_all(found * own, own)}
    if missed is not None:
        loss = loss + across * missed
        figures["across"] = missed.detach()
    return loss, figures


def join_ids(batch: TripletBatch, queries: int) -> Tensor | None:
    """Return the number of each image of all processes, targets first, ``(M,)``; None if the batch has no numbers.

    Args:
        batch: This process's.
        queries: Number of its queries.
    """
    if batch.target_ids is None or batch.reference_ids is None:
        return None
    own = torch.cat([batch.target_ids, batch.reference_ids])
    return join_galleries(own[:, None].double(), queries)[0][:, 0].long()


def forget_twins(cosine: Tensor, batch: TripletBatch, ids: Tensor | None, truth: Tensor | None = None) -> Tensor:
    """Leave out the images that are a query's target once more, or as right as it: they are no negatives.

    Args:
        cosine: Of this process's queries and some images, ``(N, M)``.
        batch: This process's; with ``target_ids``, or every image counts.
        ids: The number of each image, ``(M,)``; None if they have none.
        truth: Index of each query's target among the images, ``(N,)``; None if it is not among them.

    Returns:
        The cosines, minus infinity for the images that are left out.
    """
    own = batch.target_ids
    if own is None or ids is None:
        return cosine
    twins = (own[:, None] == ids[None]) & (own >= 0)[:, None]
    if truth is not None:
        twins[torch.arange(len(truth), device=truth.device), truth] = False
    return cosine.masked_fill(twins, -torch.inf)


def copied(batch: TripletBatch) -> Tensor:
    """Return which targets are edited copies of their references, ``(N,)`` bool. Without facts, all are."""
    if batch.facts is None:
        return torch.ones_like(batch.picture, dtype=torch.bool)
    return batch.facts.target_photos == batch.facts.reference_photos[batch.picture]


def siblings(batch: TripletBatch) -> Tensor:
    """Return one number for the edited copies of a reference, and another one for each other target, ``(N,)``."""
    if batch.facts is None:
        return batch.picture
    other = len(batch.references) + torch.arange(len(batch.picture), device=batch.picture.device)
    return torch.where(copied(batch), batch.picture, other)
