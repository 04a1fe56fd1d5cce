"""Losses on attention maps: make a model look where it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def dice_loss(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Soft Dice distance between maps and masks.

    Each map is divided by its own maximum, held constant, so that only its shape counts:

    .. math:: \ell = 1 - \frac{2 \sum_x p(x)\, m(x)}{\sum_x p(x)^2 + \sum_x m(x)^2}, \quad p = M / \max(M)

    A map that is zero everywhere has the loss 1, the worst there is: a dead map is never rewarded.

    Args:
        maps: Non-negative maps, ``(B, h, w)``, differentiable.
        masks: Where the maps should lie, ``(B, h, w)``, values in [0, 1].

    Returns:
        One loss a sample, ``(B,)``, in [0, 1]. Its gradient flows to ``maps`` and is finite for dead maps too.

    Raises:
        ValueError: If the shapes differ.

    Source: Milletari et al., V-Net (arXiv 1606.04797), section 3, on max-normalised maps.
    """
    if maps.shape != masks.shape or maps.dim() != 3:
        raise ValueError(f"maps and masks must both be (B, h, w), got {tuple(maps.shape)} and {tuple(masks.shape)}")
    import torch

    eps = torch.finfo(maps.dtype).eps
    peak = maps.detach().amax((1, 2), keepdim=True).clamp(min=eps)
    shape, masks = maps / peak, masks.to(maps)
    overlap = (shape * masks).sum((1, 2))
    return 1 - 2 * overlap / ((shape**2).sum((1, 2)) + (masks**2).sum((1, 2)) + eps)
