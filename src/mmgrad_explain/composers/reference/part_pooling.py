"""Embed an image part by part, so that small objects count as much as large ones, and change it part by part.

The mean over an image says little of a handbag: it covers one cell in two hundred. Here each cell of the feature grid
is assigned to parts, the classes of the training's label maps, and every part has numbers of its own in the embedding:
whether it is there, and what it looks like. A text changes the numbers of the parts that it names.

To which part a cell belongs, and what it looks like, stands in the feature grid itself, in channels of their own: so a
map that is taken at this grid can point at a part by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_HIGHEST = 0.01
"""Share of the cells, those that show a part best, that tell whether it is there."""
_MEMORY = 100
"""Batches that the mean image is estimated from."""
_RANKS = 2
"""Parts that a text can change in different ways at once: replace a dress by a skirt."""
_WIDTH, _NARROW, _COLOUR_WIDTH = 192, 96, 64
_CONTRAST = 8.0
"""Factor of the colours, so that close ones are soon told apart."""


class PartHead(nn.Module):
    """Tells the part of every cell from all maps of the trunk, on the grid of the first.

    Args:
        channels: Of each map, the finest first.
        parts: Number of parts, background included.
    """

    def __init__(self, channels: Sequence[int], parts: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, _WIDTH, 1) for c in channels)
        self.around = nn.Conv2d(_WIDTH, _WIDTH, 3, 1, 1, groups=_WIDTH)
        self.narrow = nn.Conv2d(_WIDTH, _NARROW, 1)
        self.logits = nn.Conv2d(_NARROW, parts, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Compute logits of maps ``(B, C_i, h_i, w_i)``: ``(B, parts, h_1, w_1)``."""
        size = maps[0].shape[-2:]
        first, *others = (lateral(m) for lateral, m in zip(self.lateral, maps, strict=True))
        merged = first + sum(F.interpolate(other, size=size, mode="bilinear") for other in others)
        return self.logits(F.relu(self.narrow(self.around(F.gelu(merged)))))  # type: ignore[no-any-return]


class NamedChannels(nn.Module):
    """Names the cells of an image: channels that say to which part a cell belongs, and what it looks like.

    The look is told from the mean colour of the cell alone.

    Args:
        channels: Of each map of the trunk, the finest first.
        parts: Number of parts, background included.
        looks: Number of classes that say what a cell looks like.
        given: Whether the logits of the parts are given.
    """

    def __init__(self, channels: Sequence[int], parts: int, looks: int, *, given: bool = False) -> None:
        super().__init__()
        self.parts = None if given else PartHead(channels, parts)
        self.looks = nn.Sequential(
            nn.Conv2d(3, _COLOUR_WIDTH, 1), nn.GELU(),
            nn.Conv2d(_COLOUR_WIDTH, _COLOUR_WIDTH, 1), nn.GELU(),
            nn.Conv2d(_COLOUR_WIDTH, looks, 1),
        )  # fmt: skip

    def forward(self, maps: Sequence[Tensor], pixel_values: Tensor, logits: Tensor | None = None) -> Tensor:
        """Compute the shares of the parts and of the looks, each a softmax.

        Args:
            maps: Of the trunk, ``(B, C_i, h_i, w_i)``, the finest first.
            pixel_values: ``(B, 3, H, W)``.
            logits: Of the parts, ``(B, parts, h, w)``, where they are given.

        Returns:
            ``(B, parts + looks, h_1, w_1)``.
        """
        size = (maps[0].shape[2], maps[0].shape[3])
        if self.parts is not None:
            logits = self.parts(maps)
        elif logits is not None:
            logits = F.interpolate(logits.float(), size=size, mode="bilinear")
        colours = _CONTRAST * F.adaptive_avg_pool2d(pixel_values, size)
        return torch.cat([logits.softmax(1), self.looks(colours).softmax(1)], dim=1)  # type: ignore[union-attr]


class ChannelReader(nn.Module):
    """Reads the logits of classes from channels that hold their shares.

    Args:
        first: The first of these channels.
        out_channels: Number of classes.
    """

    def __init__(self, first: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.out_channels = first, out_channels

    def shares(self, grid: Tensor) -> Tensor:
        """Return the shares in a feature grid ``(B, C, h, w)``: ``(B, out_channels, h, w)``."""
        return grid[:, self.first : self.first + self.out_channels]

    def forward(self, grid: Tensor) -> Tensor:
        """Return their logarithms."""
        return self.shares(grid).float().clamp(min=1e-6).log()


class PartPooling(nn.Module):
    """Describes the parts of an image.

    Cell ``x`` belongs to part ``k`` by ``p_k(x)`` and looks like ``v(x)``, both shares that stand in the grid. Part
    ``k`` is ``s_k`` and ``s_k sum_x p_k(x)^2 v(x) / sum_x p_k(x)^2``, where ``s_k^2`` is the mean of ``p_k`` over the
    cells where it is highest.

    Args:
        parts: Reads the shares of the parts, background included.
        looks: Reads the shares of the looks.

    Attributes:
        mean: The parts of the mean image, ``(parts, looks + 1)``: what all images have alike would make them all alike.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, parts: ChannelReader, looks: ChannelReader) -> None:
        super().__init__()
        self.parts, self.looks = parts, looks
        self.register_buffer("mean", torch.zeros(parts.out_channels, looks.out_channels + 1))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, grid: Tensor) -> Tensor:
        """Describe the parts in grids ``(B, C, h, w)``: ``(B, parts, looks + 1)``; the last number is ``s_k``."""
        shares = self.parts.shares(grid).float().flatten(2)
        looks = F.pad(self.looks.shares(grid).float().flatten(2), (0, 0, 0, 1), value=1.0)
        weights = shares.square()
        pooled = weights @ looks.transpose(1, 2) / (weights.sum(2, keepdim=True) + 1e-2)
        highest = max(1, round(_HIGHEST * shares.shape[2]))
        there = shares.topk(highest, dim=2).values.mean(2, keepdim=True)
        return pooled * there.clamp(min=1e-6).sqrt()

    def deviations(self, parts: Tensor) -> Tensor:
        """Subtract the mean image from parts ``(B, parts, looks + 1)``. In training, update the mean image first."""
        if self.training:
            with torch.no_grad():
                self.seen += 1
                self.mean += (parts.mean(0) - self.mean) / self.seen.clamp(max=_MEMORY)
        return parts - self.mean


class PartShift(nn.Module):
    """What a text changes in the parts: ``sum_r g_r (c_r - a)`` of the parts ``a``, gates ``g`` and codes ``c``.

    The codes are shared by all parts: what "green" means is learned on dresses and holds for skirts.

    Args:
        width: Length of the composer's hidden state, which describes the text and the region that it names.
        parts: Number of parts.
        numbers: Numbers of each part.
    """

    def __init__(self, width: int, parts: int, numbers: int) -> None:
        super().__init__()
        self.gates = nn.Linear(width, _RANKS * parts)
        self.codes = nn.Linear(width, _RANKS * numbers)

    def forward(self, hidden: Tensor, parts: Tensor, named: Tensor | None = None) -> Tensor:
        """Compute the change of parts ``(B, K, n)`` that texts with hidden states ``(B, W)`` ask for: ``(B, K, n)``.

        Where it is known which parts the texts name, ``(B, K)``, these are open to the first change.
        """
        gates = F.softplus(self.gates(hidden) - 3).view(len(hidden), _RANKS, -1)
        if named is not None:
            gates = gates + F.pad(named[:, None, 1:], (1, 0, 0, _RANKS - 1))
        codes = self.codes(hidden).view(len(hidden), _RANKS, -1)
        return gates.transpose(1, 2) @ codes - gates.sum(1)[..., None] * parts  # type: ignore[no-any-return]
