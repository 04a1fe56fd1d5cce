"""Losses on maps that need no masks: two maps that should agree, and two that should differ. One value a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.maps import (
    check_pair,
    cosine_of,
    dead_is_worst,
    dead_maps,
    full_precision,
    in_float32,
    mean_in,
    rectify,
    stretch,
    stretch_recoverably,
)

if TYPE_CHECKING:
    from torch import Tensor

REGION = 0.8
"""Least sum of two maps in the region that both show; half of it is the least mean of each map there."""

REGION_WEIGHT = 0.5
"""Weight, in :func:`selfeq_loss`, of what it asks of the common region."""


class PairedMaps(NamedTuple):
    """Maps to compare with those of a batch, sample by sample.

    Attributes:
        maps: Shaped like the batch's, ``(B, h, w)`` or ``(W, B, h, w)``, differentiable; signed ones can recover.
        valid: ``(B,)`` bool: the samples that have such a map; None for all.
    """

    maps: Tensor
    valid: Tensor | None = None


@full_precision
def selfeq_loss(maps: Tensor, other_maps: Tensor) -> Tensor:
    r"""Measure how far two maps that should be equal differ, and how faint and uneven they are where both are bright.

    .. math:: \ell = \frac1N \sum_x (g - g')^2
        + \lambda \sum_{f \in \{g, g'\}} \left(\sigma_R(f) + \max(0, \tfrac k2 - \mu_R(f))\right)

    ``g`` is the rectified map, scaled from its minimum, 0, to its maximum, 1 (both held constant); ``R`` is where
    ``g + g'`` is at least ``k`` = :data:`REGION`, with the mean ``mu`` and the standard deviation ``sigma`` of a map in
    it. ``lambda`` is :data:`REGION_WEIGHT`. The second part keeps maps from agreeing by showing next to nothing.

    A cell below 0 counts as 0 and has the gradient of a cell at 0: otherwise two maps that disagree push each other's
    bright cells down and raise nothing, until both are dead.

    Args:
        maps: ``(B, h, w)``, differentiable; signed maps are rectified here.
        other_maps: What they should equal, ``(B, h, w)``, differentiable: of a paraphrase, or of the mirrored image,
            mirrored back.

    Returns:
        ``(B,)`` in [0, 1.9]; 1.9 where either map is dead. A dead map is raised where the other one is bright; of two
        dead maps, which push down what the other one does not show until neither shows anything, each is raised where
        the other one is least dark.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ.

    Source: He et al., Improved Visual Grounding through Self-Consistent Explanations (SelfEQ, CVPR 2024,
    arXiv 2312.04554), the similarity and the consistency loss; k as there. The authors' code has a smooth L1 distance
    in the place of the squares.
    """
    others = check_pair(maps, in_float32(other_maps), "maps and other_maps")
    first, second = stretch_recoverably(maps), stretch_recoverably(others)
    region = (first.detach() + second.detach() >= REGION).to(maps)
    loss = (first - second).square().mean((1, 2))
    for one in (first, second):
        mean = mean_in(one, region)
        spread = mean_in((one - mean[:, None, None]).square(), region)
        uneven = (spread + _LEAST_VARIANCE).sqrt() - _LEAST_VARIANCE**0.5
        loss = loss + REGION_WEIGHT * (uneven + (REGION / 2 - mean).relu())
    worst = 1 + REGION_WEIGHT * (1 + REGION)
    loss = dead_is_worst(loss, worst, maps, _brightest_of(others))
    return dead_is_worst(loss, worst, others, _brightest_of(maps))


def _brightest_of(maps: Tensor) -> Tensor:
    """Return where maps are bright, in [0, 1], detached; of a dead one, where it is least dark."""
    signed = maps.detach()
    return torch.where(
        dead_maps(signed)[:, None, None], stretch(signed - signed.amin((1, 2), keepdim=True)), stretch(signed)
    )


_LEAST_VARIANCE = 1e-6  # a square root has no slope at 0


@full_precision
def separation_loss(maps: Tensor, other_maps: Tensor, margin: float = 0.5) -> Tensor:
    r"""Measure by how much two maps overlap more than they may: those of two texts about one image.

    .. math:: \ell = \frac{1}{1 - \mu} \max\left(0, \cos(p, p') - \mu\right)

    ``p`` is the rectified map divided by its maximum, which is held constant. Two texts may speak of one place: up to
    the margin an overlap costs nothing.

    Args:
        maps: ``(B, h, w)``, differentiable; signed maps are rectified here.
        other_maps: Maps of other texts about the same images, ``(B, h, w)``, differentiable.
        margin: ``mu``, a cosine in [0, 1).

    Returns:
        ``(B,)`` in [0, 1]; 1 where either map is dead, so that a map does not evade the other by dying.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ, or the margin is out of its range.
    """
    others = check_pair(maps, in_float32(other_maps), "maps and other_maps")
    if not 0 <= margin < 1:
        raise InputError(f"margin must be a cosine, at least 0 and below 1; got {margin}")
    first, second = rectify(maps), rectify(others)
    loss = (cosine_of(first, second) - margin).relu() / (1 - margin)
    loss = dead_is_worst(loss, 1.0, maps, 1 - second.detach())
    return dead_is_worst(loss, 1.0, others, 1 - first.detach())
