"""How well maps agree with masks. Pure functions, one value a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.metrics.float64 import to_float64

if TYPE_CHECKING:
    from torch import Tensor


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Test whether the brightest pixel lies in the mask (Zhang et al., Excitation Backprop, arXiv 1608.00507).

    A flat or dead map points nowhere and counts as a miss. Where several pixels are brightest, the value is the share
    of them that lies in the mask.

    Args:
        maps: ``(B, H, W)``, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.

    Returns:
        ``(B,)`` float in [0, 1].
    """
    _check(maps, masks)
    peak = maps.amax((1, 2), keepdim=True)
    top = (maps == peak) & (peak > maps.amin((1, 2), keepdim=True))
    hits = (top & masks.bool()).sum((1, 2)).float()
    return hits / top.sum((1, 2)).clamp(min=1)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Compute the share of the map's mass inside the mask (Wang et al., Score-CAM, arXiv 1910.01279); 0 for a dead map.

    Args:
        maps: ``(B, H, W)``, non-negative, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.

    Returns:
        ``(B,)`` float in [0, 1].
    """
    _check(maps, masks)
    total = maps.sum((1, 2))
    return (maps * masks.bool()).sum((1, 2)) / total.clamp(min=torch.finfo(maps.dtype).tiny)


def intersection_over_union(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Compute the IoU of the mask and the map cut at a share of its maximum; 0 for a dead map.

    Args:
        maps: ``(B, H, W)``, non-negative, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.
        threshold: Share of each map's maximum, in (0, 1].

    Returns:
        ``(B,)`` float in [0, 1].
    """
    _check(maps, masks)
    peak = maps.amax((1, 2), keepdim=True)
    bright, inside = (maps >= threshold * peak) & (peak > 0), masks.bool()
    union = (bright | inside).sum((1, 2)).clamp(min=1)
    return (bright & inside).sum((1, 2)) / union


def contrast_accuracy(maps: Tensor, masks: Tensor, others: Tensor) -> Tensor:
    """Test whether a map is brighter in its own region than in that of another text about the same image.

    Right (1) where the map's mean over its own region is above its mean over the other text's region, wrong (0) where
    it is below, 0.5 where both are exactly equal. A flat or dead map is wrong. Means are compared, not sums: a large
    region has no advantage. Over both orders of a pair, a map that ignores the text is right once and wrong once, so
    that the floor is 0.5 by construction. Pixels in both regions are left out.

    Args:
        maps: Each text's map, ``(B, H, W)``, at the masks' resolution.
        masks: The region of this text, ``(B, H, W)``, true inside.
        others: The region of the other text, ``(B, H, W)``.

    Returns:
        ``(B,)`` float: 0, 0.5 or 1.

    Raises:
        ValueError: If the shapes differ, or a region has no pixel of its own.
    """
    _check(maps, masks)
    _check(maps, others)
    maps = to_float64(maps)
    masks, others = masks.bool().to(maps.device), others.bool().to(maps.device)
    regions = masks & ~others, others & ~masks
    sizes = [region.sum((1, 2)) for region in regions]
    if any(bool((size == 0).any()) for size in sizes):
        raise ValueError("contrast_accuracy needs two regions with pixels of their own; leave such pairs out")
    own_mean, other_mean = ((maps * region).sum((1, 2)) / size for region, size in zip(regions, sizes, strict=True))
    alive = maps.amax((1, 2)) > maps.amin((1, 2))
    right = (own_mean > other_mean).float() + 0.5 * (own_mean == other_mean).float()
    return right * alive


def roc_auc(maps: Tensor, masks: Tensor) -> Tensor:
    """Compute the chance that a pixel inside the mask is brighter than one outside.

    Ties count half, so that a flat map has 0.5. This is the area under the ROC curve of the map as a classifier of
    pixels (Mann-Whitney's statistic).

    Args:
        maps: ``(B, H, W)``, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.

    Returns:
        ``(B,)`` float in [0, 1]; NaN where the mask is empty or covers everything.
    """
    _check(maps, masks)
    values = to_float64(maps.flatten(1))
    inside = masks.flatten(1).bool().to(values.device)
    aucs = []
    for row, hits in zip(values, inside, strict=True):
        bright, dark = row[hits].sort().values, row[~hits].sort().values
        below = torch.searchsorted(dark, bright, side="left")
        tied = torch.searchsorted(dark, bright, side="right") - below
        pairs = len(bright) * len(dark)
        aucs.append((below.sum() + 0.5 * tied.sum()) / pairs if pairs else row.new_tensor(float("nan")))
    return torch.stack(aucs).float()


def flat_map(maps: Tensor, masks: Tensor) -> Tensor:
    """Test whether a map is dead: it has one value everywhere, so that it points nowhere.

    Args:
        maps: ``(B, H, W)``.
        masks: ``(B, H, W)``; only their shape is checked.

    Returns:
        ``(B,)`` float: 1 for a dead map, else 0.
    """
    _check(maps, masks)
    return (maps.amax((1, 2)) <= maps.amin((1, 2))).float()


def _check(maps: Tensor, masks: Tensor) -> None:
    if maps.shape != masks.shape or maps.dim() != 3:
        raise ValueError(f"maps and masks must both be (B, H, W), got {tuple(maps.shape)} and {tuple(masks.shape)}")
