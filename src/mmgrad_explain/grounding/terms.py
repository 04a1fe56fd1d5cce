"""Further terms of the grounding loss: contrast, margin, consistency. One value in [0, 1] a sample, ``(B,)``.

In the formulas ``p`` is the rectified map divided by its maximum, which is held constant. A dead map has the loss 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
)

SLACK = 0.01
"""Brightness that :func:`contrast_loss` adds to both means, as a share of a map's maximum."""


def find_foreign_regions(masks: Tensor, other_masks: Tensor) -> Tensor:
    """Find where only another text's map should be bright: ``max_k(other) * (1 - mask)``, ``(B, h, w)``.

    Args:
        masks: ``(B, h, w)``, values in [0, 1].
        other_masks: ``(B, h, w)``, or ``(B, K, h, w)`` for several partners; zeros where a sample has fewer.

    Raises:
        InputError: If the shapes do not fit.
    """
    if other_masks.dim() == 4 and other_masks.shape[1] > 0:
        other_masks = other_masks.amax(1)
    if other_masks.shape != masks.shape:
        raise InputError(
            f"other_masks must be (B, h, w) or (B, K, h, w) with masks of {tuple(masks.shape)}, "
            f"got {tuple(other_masks.shape)}"
        )
    return other_masks.to(masks) * (1 - masks)


@full_precision
def contrast_loss(maps: Tensor, masks: Tensor, other_masks: Tensor) -> Tensor:
    r"""Compare how bright a map is on another text's region and on its own.

    .. math:: \ell = \frac{b + \delta}{a + b + 2 \delta}, \quad
        a = \frac{\sum_x p(x)\, m(x)}{\sum_x m(x)}, \quad b = \frac{\sum_x p(x)\, r(x)}{\sum_x r(x)}

    ``r`` is the partners' mask without the map's own, ``delta`` = :data:`SLACK`. One half means that both regions are
    equally bright, or both dark.

    Args:
        maps: ``(B, h, w)``, differentiable; signed maps are rectified here.
        masks: Where each map should be bright, ``(B, h, w)``, values in [0, 1].
        other_masks: Where the maps of other texts about the same image should be bright, ``(B, h, w)`` or
            ``(B, K, h, w)``; :func:`~.targets.partner_masks` makes them.

    Returns:
        ``(B,)`` in [0, 1]; undefined where ``r`` is empty, so leave these samples out.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ.
    """
    masks = check_pair(maps, masks)
    foreign = find_foreign_regions(masks, other_masks)
    p = rectify(maps)
    own, other = mean_in(p, masks), mean_in(p, foreign)
    return dead_is_worst((other + SLACK) / (own + other + 2 * SLACK), 1.0, maps, masks)


@full_precision
def margin_loss(maps: Tensor, masks: Tensor, margin: float = 0.5) -> Tensor:
    r"""Measure by how much the brightest cell inside misses its margin above the brightest cell outside.

    .. math:: \ell = \frac{1}{1 + \mu} \max\left(0, \mu - \max_x p(x)\, m(x) + \max_x p(x) (1 - m(x))\right)

    Args:
        maps: ``(B, h, w)``, differentiable; signed maps are rectified here.
        masks: Where each map should be bright, ``(B, h, w)``, values in [0, 1].
        margin: ``mu``, as a share of the map's maximum, in (0, 1].

    Returns:
        ``(B,)`` in [0, 1]; 0 where the margin is kept.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ, or the margin is out of its range.
    """
    masks = check_pair(maps, masks)
    if not 0 < margin <= 1:
        raise InputError(f"margin must be above 0 and at most 1, the map's maximum; got {margin}")
    p = rectify(maps)
    inside, outside = (p * masks).amax((1, 2)), (p * (1 - masks)).amax((1, 2))
    return dead_is_worst((margin - inside + outside).relu() / (1 + margin), 1.0, maps, masks)


@full_precision
def consistency_loss(maps: Tensor, paired_maps: Tensor, excluded: Tensor | None = None) -> Tensor:
    r"""Measure how far the maps on a triplet's reference and target differ: one minus their cosine.

    .. math:: \ell = 1 - \frac{\sum_x k\, p\, p'}{\sqrt{\sum_x k\, p^2 \sum_x k\, p'^2}}, \quad k = 1 - \text{excluded}

    It is low when both maps are bright in the same place. Leave out the samples whose object moves.

    Args:
        maps: Maps on the references, ``(B, h, w)``, differentiable; signed maps are rectified here.
        paired_maps: Maps on the targets for the same texts, ``(B, h, w)``, differentiable.
        excluded: Cells to leave out, 1, such as letterbox bars or what only one of the images shows; ``(B, h, w)`` in
            [0, 1]. None leaves out nothing.

    Returns:
        ``(B,)`` in [0, 1]; 1 where either map is dead, or dark on all cells that count.

    Raises:
        TypeError: If the maps are not a floating-point tensor.
        InputError: If the shapes differ.
    """
    paired = check_pair(maps, in_float32(paired_maps), "maps and paired_maps")
    first, second = rectify(maps), rectify(paired)
    if excluded is not None:
        keep = 1 - check_pair(maps, excluded, "maps and excluded")
        first, second = first * keep.sqrt(), second * keep.sqrt()
    loss = 1 - cosine_of(first, second)
    return torch.where(dead_maps(maps) | dead_maps(paired), 1 + (loss - loss.detach()), loss)
