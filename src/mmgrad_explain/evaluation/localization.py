"""How well maps lie on masks. Pure functions, one value a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the brightest pixel lies in the mask (Zhang et al., Excitation Backprop, arXiv 1608.00507).

    A map without a single brightest pixel is no answer: a flat or dead map counts as a miss. Equal maxima share the
    point: the hit is the part of them that lies in the mask.

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
    """Share of the map's mass inside the mask (Wang et al., Score-CAM, arXiv 1910.01279); 0 for a dead map.

    Args:
        maps: ``(B, H, W)``, non-negative, at the masks' resolution.
        masks: ``(B, H, W)``, true inside.

    Returns:
        ``(B,)`` float in [0, 1].
    """
    _check(maps, masks)
    import torch

    total = maps.sum((1, 2))
    return (maps * masks.bool()).sum((1, 2)) / total.clamp(min=torch.finfo(maps.dtype).tiny)


def intersection_over_union(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """IoU of the mask and the map cut at a share of its maximum; 0 for a dead map.

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


def _check(maps: Tensor, masks: Tensor) -> None:
    if maps.shape != masks.shape or maps.dim() != 3:
        raise ValueError(f"maps and masks must both be (B, H, W), got {tuple(maps.shape)} and {tuple(masks.shape)}")
