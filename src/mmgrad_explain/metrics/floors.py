"""What maps that know nothing reach on the same masks: floors that a model's maps must beat. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def chance(masks: Sequence[Tensor]) -> Tensor:
    """Share of the picture that each mask covers: pointing of a random pixel, energy of a flat map.

    Args:
        masks: One ``(H, W)`` bool a picture, of any sizes.

    Returns:
        ``(B,)`` float in [0, 1].
    """
    return torch.stack([mask.float().mean() for mask in masks])


def image_centre(masks: Sequence[Tensor]) -> Tensor:
    """Pointing of the picture's middle pixel, ``(B,)`` float."""
    return torch.stack([mask[mask.shape[0] // 2, mask.shape[1] // 2].float() for mask in masks])


def best_fixed_point(masks: Sequence[Tensor], grid: int = 32) -> tuple[float, tuple[float, float]]:
    """Pointing of the one relative place that lies in most of the masks.

    It is chosen on the very masks it is judged by, so it is an upper bound for a point that does not look.

    Args:
        masks: One ``(H, W)`` bool a picture.
        grid: Places tried along each axis.

    Returns:
        The share of masks it hits, and where it is as (y, x) in [0, 1].
    """
    at = (torch.arange(grid) + 0.5) / grid
    hits = torch.zeros(grid, grid)
    for mask in masks:
        rows, columns = ((at * side).long() for side in mask.shape)
        hits += mask[rows][:, columns].float()
    best = int(hits.argmax())
    return float(hits.max()) / len(masks), (float(at[best // grid]), float(at[best % grid]))


def centre_gaussian(height: int, width: int, sigma: float = 0.25) -> Tensor:
    """A bright middle: a Gaussian around the picture's centre.

    Args:
        height: Of the map, pixels.
        width: Of the map, pixels.
        sigma: Standard deviation along each axis, as a share of that side.

    Returns:
        ``(height, width)`` float in [0, 1].
    """
    y, x = (((torch.arange(side) + 0.5) / side - 0.5) / sigma for side in (height, width))
    return torch.exp(-0.5 * (y[:, None].square() + x[None].square()))


def random_map(height: int, width: int, grid: int, generator: torch.Generator) -> Tensor:
    """Noise on a coarse grid, interpolated bilinearly as a model's map would be: ``(height, width)`` in [0, 1]."""
    noise = torch.rand(1, 1, grid, grid, generator=generator)
    return F.interpolate(noise, size=(height, width), mode="bilinear")[0, 0]
