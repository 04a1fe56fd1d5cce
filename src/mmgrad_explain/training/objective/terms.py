"""Terms of the loss of a batch: which mask belongs to which map and what the loss makes of them; the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.data.batches.batch import stays_in_place
from mmgrad_explain.grounding.loss import AttentionGroundingLoss
from mmgrad_explain.grounding.targets import grounding_targets
from mmgrad_explain.training.processes import mean_over_all

if TYPE_CHECKING:
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.objective.objective import Rows


class JoinedGroundingLoss(AttentionGroundingLoss):
    """The grounding loss whose means are over the samples of all processes; with one process it is the same."""

    def average(self, values: Tensor, counted: Tensor) -> Tensor:
        """See :func:`~mmgrad_explain.training.processes.mean_over_all`."""
        return mean_over_all(values, counted)

    def take_part(self, like: Tensor) -> dict[str, Tensor]:
        """Stand by while other processes take their means: this one has no supervised map. Gives the figures."""
        terms = [self.form_name if name == "form" else name for name, weight in self.weights.items() if weight]
        nothing = like.new_zeros(0)
        return {name: self.average(nothing, nothing.bool()) for name in (*terms, "dead")}


def masks_of(batch: TripletBatch, rows: Rows) -> Tensor:
    """Where the maps of the rows should lie, references first, ``(R, H, W)`` bool."""
    return torch.cat([batch.reference_masks[rows.reference], batch.target_masks[rows.target]])


def context_of(batch: TripletBatch, rows: Rows) -> Tensor:
    """What else the texts of the rows speak of, like :func:`masks_of`; known in the references alone."""
    nothing = torch.zeros_like(batch.target_masks[rows.target])
    if batch.context_masks is None:
        return torch.cat([torch.zeros_like(batch.reference_masks[rows.reference]), nothing])
    return torch.cat([batch.context_masks[rows.reference], nothing])


def ground(loss: AttentionGroundingLoss, maps: Tensor, batch: TripletBatch, rows: Rows) -> Tensor:
    """The grounding loss of signed maps ``(W, R, h, w)``, references first, with the terms that have a weight.

    The contrast term knows a partner's place in the reference alone. Of a triplet with maps on both sides, the
    reference's is compared with the target's.
    """
    others = paired = valid = None
    if loss.weights["contrast"]:
        partner = batch.partner[rows.reference]
        others = batch.reference_masks[partner.clamp(min=0)] & (partner >= 0)[:, None, None]
        others = torch.cat([others, torch.zeros_like(batch.target_masks[rows.target])])
    if loss.weights["consistency"]:
        pair = rows.reference[:, None] == rows.target[None]
        place = len(rows.reference) + pair.int().argmax(1) if len(rows.target) else torch.zeros_like(rows.reference)
        itself = len(rows.reference) + torch.arange(len(rows.target), device=place.device)
        paired = maps[:, torch.cat([place, itself])]
        valid = torch.cat([pair.any(1) & stays(batch)[rows.reference], torch.zeros_like(itself, dtype=torch.bool)])
    return loss(maps, masks_of(batch, rows), other_masks=others, paired_maps=paired, paired_valid=valid)  # type: ignore[no-any-return]


def figures_of(loss: AttentionGroundingLoss) -> dict[str, Tensor]:
    """What to log of the loss's last call."""
    report = loss.report
    return {} if report is None else {**report.terms, "dead": report.dead}


def stays(batch: TripletBatch) -> Tensor:
    """Whose object is in the same place in both pictures, ``(N,)`` bool."""
    return stays_in_place(batch.reference_masks, batch.target_masks, batch.edits, batch.supervised)


def missed_by_pooling(logits: Tensor, masks: Tensor, heads: int) -> Tensor:
    r"""How much of an attention pooling misses the region: ``-log sum_x a(x) m(x)``, mean over heads and samples.

    ``m`` is the mask on the tokens' grid, its maximum 1, not below 1e-4; ``a`` the pooling's attention.

    Args:
        logits: Of the attention, ``(R, H, n)``, tokens on a square grid.
        masks: ``(R, H, W)`` bool.
        heads: How many heads count, the first ones.
    """
    side = round(logits.shape[2] ** 0.5)
    laid = grounding_targets((side, side), masks=masks, validate=False)
    log_share = logits[:, :heads].float().log_softmax(-1) + (laid.masks.flatten(1) + 1e-4).log()[:, None]
    missed = -log_share.logsumexp(-1).mean(1)
    return mean_over_all(missed * laid.supervised, laid.supervised)


CHANGE_SCALE = 10.0
"""What cosines are multiplied by in :func:`mistaken_change`."""


def mistaken_change(shift: Tensor, change: Tensor, picture: Tensor) -> Tensor:
    r"""Which of its picture's edits a shift is taken for, by direction: cross-entropy, mean over triplets.

    ``-log softmax_j(s cos(D_i, z_j - z_r))`` at ``j = i``, over the edits ``j`` of the picture ``r`` of ``i``.

    Args:
        shift: What the texts change, ``D``, ``(N, D)``.
        change: What really changes, embedding of the target minus embedding of the reference, ``(N, D)``.
        picture: Which reference each triplet belongs to, ``(N,)``.

    Returns:
        A number; 0 where each picture has one edit.
    """
    cosine = F.normalize(shift, dim=-1) @ F.normalize(change, dim=-1).T
    logits = (CHANGE_SCALE * cosine).masked_fill(picture[:, None] != picture[None], -torch.inf)
    return mean_over_all(F.cross_entropy(logits, torch.arange(len(shift), device=shift.device), reduction="none"))
