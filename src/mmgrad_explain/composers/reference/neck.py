"""Merge the trunk's maps to one grid of features, and tell each cell where it lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITION_CODES = 10


def position_codes(side: int, like: Tensor) -> Tensor:
    """Encode the positions of a square grid: row and column, and two waves of each, ``(side * side, POSITION_CODES)``.

    Args:
        side: Tokens in a row.
        like: A tensor of the wanted type and device.
    """
    axis = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side * 2 - 1
    waves = [axis, *(wave(math.pi * n * axis) for n in (1, 2) for wave in (torch.sin, torch.cos))]
    return torch.cat([torch.stack(torch.meshgrid(wave, wave, indexing="ij")).flatten(1) for wave in waves]).T


class GridPositions(nn.Module):
    """Adds its position to every token of a square grid.

    Args:
        width: Of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(POSITION_CODES, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute ``(B, side * side, W) -> (B, side * side, W)``."""
        return tokens + self.project(position_codes(math.isqrt(tokens.shape[1]), tokens))  # type: ignore[no-any-return]


class Neck(nn.Module):
    """Merges the trunk's maps to the grid of the first (a small feature pyramid), with learned positions.

    Args:
        channels: Of each map, the finest first.
        width: Channels of the grid.
        side: Cells in a row of the second map, where the positions are added.
        groups: Groups of GroupNorm.
    """

    def __init__(self, channels: Sequence[int], width: int, side: int, groups: int = 8) -> None:
        super().__init__()
        mix = 0.1 * torch.randn(width, POSITION_CODES)
        self.positions = nn.Parameter((mix @ position_codes(side, mix).T).view(width, side, side))
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.Sequential(nn.GroupNorm(groups, width), nn.GELU(), nn.Conv2d(width, width, 3, 1, 1))
        self.project = nn.Sequential(nn.GroupNorm(groups, width), nn.GELU(), nn.Conv2d(width, width, 1), nn.ReLU())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Merge maps, the finest first, to ``(B, width, h, w)`` on the grid of the first, non-negative."""
        fine, *others = (lateral(m) for lateral, m in zip(self.lateral, maps, strict=True))
        middle = others.pop()
        while others:
            finer = others.pop()
            middle = finer + F.interpolate(middle, size=finer.shape[-2:], mode="nearest")
        middle = self.smooth(middle + self.positions)
        return self.project(fine + F.interpolate(middle, size=fine.shape[-2:], mode="bilinear"))  # type: ignore[no-any-return]
