"""Terms of the loss of a batch: grounding of its maps, attention pooling, direction of the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.grounding.loss import AttentionGroundingLoss
from mmgrad_explain.grounding.targets import grounding_targets
from mmgrad_explain.training.distributed import mean_over_all
from mmgrad_explain.training.objective.supervision import find_unmoved_triplets, masks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.grounding.masking import MaskedScores
    from mmgrad_explain.grounding.self_supervision import PairedMaps
    from mmgrad_explain.training.objective.supervision import Rows

CHANGE_SCALE = 10.0
"""Factor of the cosines in :func:`change_loss`."""

ACROSS_SCALE = 20.0
"""Factor of the cosines in :func:`across_loss`. What images show is noisy: with the temperature of InfoNCE, which may
reach 100, one wrong image would count and the others would not."""


class JoinedGroundingLoss(AttentionGroundingLoss):
    """The grounding loss with means over the samples of all processes; with one process it is the same."""

    def average(self, values: Tensor, counted: Tensor) -> Tensor:
        """See :func:`~mmgrad_explain.training.distributed.mean_over_all`."""
        return mean_over_all(values, counted)

    def join_without_maps(self, like: Tensor) -> dict[str, Tensor]:
        """Take part in the means of the other processes when this one has no supervised map.

        Args:
            like: A tensor on the device to compute on.

        Returns:
            The figures, as :func:`figures_of` gives them.
        """
        terms = [self.form_name if name == "form" else name for name, weight in self.weights.items() if weight]
        nothing = like.new_zeros(0)
        return {name: self.average(nothing, nothing.bool()) for name in (*terms, "dead")}


def ground(
    loss: AttentionGroundingLoss,
    maps: Tensor,
    batch: TripletBatch,
    rows: Rows,
    other_maps: Mapping[str, PairedMaps] | None = None,
    scores: MaskedScores | None = None,
) -> Tensor:
    """Compute the grounding loss of signed maps ``(W, R, h, w)``, references first.

    ``other_maps`` and ``scores`` are for the terms without masks.

    The contrast term needs the place of a partner's object, which is known in the reference only. The consistency term
    compares the two maps of each triplet that has a map on both sides.
    """
    others = paired = valid = None
    if loss.weights["contrast"]:
        partner = batch.partner[rows.reference]
        others = batch.reference_masks[partner.clamp(min=0)] * (partner >= 0)[:, None, None]
        others = torch.cat([others, torch.zeros_like(batch.target_masks[rows.target])])
    if loss.weights["consistency"]:
        pair = rows.reference[:, None] == rows.target[None]
        place = len(rows.reference) + pair.int().argmax(1) if len(rows.target) else torch.zeros_like(rows.reference)
        itself = len(rows.reference) + torch.arange(len(rows.target), device=place.device)
        paired = maps[:, torch.cat([place, itself])]
        unmoved = pair.any(1) & find_unmoved_triplets(batch)[rows.reference] & rows.supervised[: len(rows.reference)]
        valid = torch.cat([unmoved, torch.zeros_like(itself, dtype=torch.bool)])
    return loss(  # type: ignore[no-any-return]
        maps, masks_of(batch, rows), other_masks=others, paired_maps=paired, paired_valid=valid,
        other_maps=other_maps, scores=scores,
    )  # fmt: skip


def figures_of(loss: AttentionGroundingLoss) -> dict[str, Tensor]:
    """Return the figures to log of the loss's last call."""
    report = loss.report
    return {} if report is None else {**report.terms, "dead": report.dead}


def pooling_loss(logits: Tensor, masks: Tensor, heads: int) -> Tensor:
    r"""Measure how much of an attention pooling misses the region: ``-log sum_x a(x) m(x)``.

    ``m`` is the mask on the tokens' grid, scaled to a maximum of 1 and at least 1e-4; ``a`` is the pooling's attention.

    Args:
        logits: Logits of the attention, ``(R, H, n)``, tokens on a square grid.
        masks: ``(R, H, W)`` bool, or in [0, 1].
        heads: Number of heads that count, from the first one on.

    Returns:
        A number, the mean over these heads and all samples with a mask.
    """
    side = round(logits.shape[2] ** 0.5)
    drawn = grounding_targets((side, side), masks=masks, validate=False)
    log_share = logits[:, :heads].float().log_softmax(-1) + (drawn.masks.flatten(1) + 1e-4).log()[:, None]
    missed = -log_share.logsumexp(-1).mean(1)
    return mean_over_all(missed * drawn.supervised, drawn.supervised)


def change_loss(shift: Tensor, change: Tensor, reference: Tensor) -> Tensor:
    r"""Classify which edit of its image a text asks for, by the direction of its shift alone.

    ``-log softmax_j(s cos(D_i, z_j - z_r))`` at ``j = i``, over the edits ``j`` of the image ``r`` of ``i``.

    Args:
        shift: What each text adds to the embedding, ``D``, ``(N, D)``.
        change: Embedding of the target minus embedding of the reference, ``(N, D)``.
        reference: Number of each triplet's reference, ``(N,)``.

    Returns:
        A number, the mean over the triplets; 0 if each image has one edit.
    """
    cosine = F.normalize(shift, dim=-1) @ F.normalize(change, dim=-1).T
    logits = (CHANGE_SCALE * cosine).masked_fill(reference[:, None] != reference[None], -torch.inf)
    return mean_over_all(F.cross_entropy(logits, torch.arange(len(shift), device=shift.device), reduction="none"))


def direction_loss(shift: Tensor, change: Tensor, counted: Tensor) -> Tensor:
    r"""Ask that a text adds to the embedding what its edit changed in it: ``1 - cos(D, z_t - z_r)``.

    Args:
        shift: What each text adds to the embedding, ``D``, ``(N, D)``.
        change: Embedding of the target minus embedding of the reference, ``(N, D)``; it is not differentiated.
        counted: Which triplets count, ``(N,)`` bool: those whose images differ in nothing else.

    Returns:
        A number, the mean over those that count.
    """
    return mean_over_all((1 - F.cosine_similarity(shift, change.detach(), dim=-1)) * counted, counted)


def across_loss(cosine: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    r"""Ask that every right image is nearer to its query than all wrong ones.

    ``mean_{p in right} log(1 + sum_{n in wrong} exp(a (c_n - c_p)))``, ``a`` the :data:`ACROSS_SCALE`; images that are
    neither do not count.

    Args:
        cosine: Cosines of queries and images, ``(N, M)``.
        right: ``(N, M)`` bool.
        wrong: ``(N, M)`` bool.

    Returns:
        A number, the mean over the queries with an image of both kinds; 0 if there are none.
    """
    counted = right.any(1) & wrong.any(1)
    finite = ACROSS_SCALE * cosine.masked_fill(~(right | wrong), 0)  # of the memory, some may be infinitely far
    hardest = finite.masked_fill(~(wrong | ~counted[:, None]), -torch.inf).logsumexp(1)
    each = F.softplus((hardest[:, None] - finite).masked_fill(~right, 0)) * right
    return mean_over_all(each.sum(1) / right.sum(1).clamp(min=1) * counted, counted)
