"""What maps that know nothing reach on the same masks: floors for a model's maps. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def chance(masks: Sequence[Tensor]) -> Tensor:
    """Compute the share of the image that each mask covers: pointing of a random pixel, energy of a flat map.

    Args:
        masks: One ``(H, W)`` bool mask an image, of any sizes.

    Returns:
        ``(B,)`` float in [0, 1].
    """
    return torch.stack([mask.float().mean() for mask in masks])


def image_centre(masks: Sequence[Tensor]) -> Tensor:
    """Compute the pointing of the image's middle pixel, ``(B,)`` float 0 or 1, for masks ``(H, W)`` bool."""
    return torch.stack([mask[mask.shape[0] // 2, mask.shape[1] // 2].float() for mask in masks])


def best_fixed_point(masks: Sequence[Tensor], grid: int = 32) -> tuple[float, tuple[float, float]]:
    """Find the one relative place that lies in most of the masks, and its pointing.

    It is chosen on the masks that it is measured on, so that it is an upper bound for a point that ignores the image.

    Args:
        masks: One ``(H, W)`` bool mask an image.
        grid: How many places are tried along each axis.

    Returns:
        The share of masks that it hits, in [0, 1], and the place as (y, x) in [0, 1].
    """
    at = (torch.arange(grid) + 0.5) / grid
    hits = torch.zeros(grid, grid)
    for mask in masks:
        rows, columns = ((at * side).long() for side in mask.shape)
        hits += mask[rows][:, columns].float()
    best = int(hits.argmax())
    return float(hits.max()) / len(masks), (float(at[best // grid]), float(at[best % grid]))


def centre_gaussian(height: int, width: int, sigma: float = 0.25) -> Tensor:
    """Make a map that is bright in the middle: a Gaussian around the image's centre.

    Args:
        height: Height of the map in pixels.
        width: Width of the map in pixels.
        sigma: Standard deviation along each axis, as a share of that side.

    Returns:
        ``(height, width)`` float in [0, 1].
    """
    y, x = (((torch.arange(side) + 0.5) / side - 0.5) / sigma for side in (height, width))
    return torch.exp(-0.5 * (y[:, None].square() + x[None].square()))


def random_map(height: int, width: int, grid: int, generator: torch.Generator) -> Tensor:
    """Make a map of noise on a coarse grid, interpolated bilinearly as a model's map would be.

    Args:
        height: Height of the map in pixels.
        width: Width of the map in pixels.
        grid: Cells along each axis.
        generator: Of the noise.

    Returns:
        ``(height, width)`` float in [0, 1].
    """
    noise = torch.rand(1, 1, grid, grid, generator=generator)
    return F.interpolate(noise, size=(height, width), mode="bilinear")[0, 0]
