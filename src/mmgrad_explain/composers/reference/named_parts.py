"""Parts that a text finds by name: classes of a segmentation head, each at its sides and sizes.

What a trained head knows of its classes stays whole here. The features hold, for each class, how surely a cell shows
it, and the same weighted by how far left, right, up or down the cell is and by how large the thing there is. A text
chooses a class by its words and a side or size by what it says: no class has to be learned again from the photographs
at hand, and those that these never show are found as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACED = ("anywhere", "left", "right", "top", "bottom", "large", "small")
"""How the evidence of a class is weighted, in the order of the channels."""

_REACHES = (0.15, 0.3, 0.5)
"""Sides of the squares in which the size of a thing is judged, as shares of the image's."""
_SURE = 6.0
"""Logit of the part that a word means, and how much more than other words the names of parts are heard, at first."""


def place_parts(shares: Tensor) -> Tensor:
    """Weight shares ``(B, K, h, w)`` by place and size: ``(B, len(PLACED) * K, h, w)``, all shares of one kind together.

    To the left they are weighted by 1 down to 0 from the left edge to the right one, and so on. A cell's thing is large
    by the mean share around it, in squares of three sizes.
    """
    height, width = shares.shape[-2:]
    down, across = (
        (torch.arange(count, dtype=shares.dtype, device=shares.device) + 0.5) / count for count in (height, width)
    )
    sizes = [2 * (round(reach * min(height, width)) // 2) + 1 for reach in _REACHES]
    around = [F.avg_pool2d(shares, size, 1, size // 2, count_include_pad=False) for size in sizes]
    large = torch.stack(around).mean(0)
    weights = [1 - across, across, (1 - down)[:, None], down[:, None], large, 1 - large]
    return torch.cat([shares, *(shares * weight for weight in weights)], dim=1)


class PartNames(nn.Module):
    """Which part a sentence names: ``n(T) = sum_l a_l p_l`` over its words.

    Each word means parts by ``p_l``, a softmax of a row of the table. The attention ``a`` hears names of parts rather
    than other words, and which of two names by their context: the train in "replace the train with a bus". Part 0, the
    background, stands for what has no name.

    Args:
        vocabulary: Number of words.
        width: Length of the encoded words.
        parts: Number of parts.
    """

    def __init__(self, vocabulary: int, width: int, parts: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, parts)
        self.choose = nn.Linear(width, 1)
        nn.init.zeros_(self.choose.weight)
        nn.init.zeros_(self.choose.bias)
        nn.init.zeros_(self.table.weight)
        with torch.no_grad():
            self.table.weight[:, 0] = _SURE

    def forward(self, input_ids: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Name parts by ids ``(B, L)``, encoded words ``(B, L, W)`` and mask ``(B, L)``: ``(B, K)``, 1 in sum."""
        means = self.table(input_ids).float().softmax(-1)
        heard = self.choose(words)[..., 0].float() + _SURE * (1 - means[..., 0])
        heard = heard.masked_fill(~mask, torch.finfo(heard.dtype).min)
        return (heard.softmax(-1)[:, None] @ means)[:, 0]  # type: ignore[no-any-return]

    def teach(self, parts: Mapping[int, int]) -> None:
        """Say which part a word means, by the word's id."""
        with torch.no_grad():
            for word, part in parts.items():
                self.table.weight[word] = 0.0
                self.table.weight[word, part] = _SURE


class NamedParts(nn.Module):
    """Looks for what a sentence names: ``w(T) . A(x)`` at each cell.

    The weights are ``w(T) = [u(T), q(T) n(T)]``, with ``n`` from :class:`PartNames`, ``q`` a softmax over
    :data:`PLACED`, and ``u`` for the features that are of no part. The background's weight is 0.

    Args:
        width: Length of an encoded sentence.
        features: Channels of the features before those of the parts.
    """

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.place = nn.Linear(width, len(PLACED))
        self.other = nn.Linear(width, features)
        self.least = nn.Linear(width, 1)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        for parameter in (self.other.weight, self.other.bias, self.least.weight, self.place.bias):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.least.bias.fill_(-2.0)
            self.place.bias[0] = 2.0

    def forward(self, grid: Tensor, sentence: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        """Look in grids ``(B, C, h, w)`` for what sentences ``(B, W)`` that name parts ``(B, K)`` mean.

        Returns:
            How surely it is in each cell, times the sharpness, ``(B, h * w)``; and how surely it is there at all plus
            what the sentence changes in any case, ``(B, 1)``.
        """
        place = self.place(sentence).float().softmax(1)
        part = F.pad(named[:, 1:], (1, 0))
        weights = torch.cat([self.other(sentence).float(), (place[:, :, None] * part[:, None]).flatten(1)], dim=1)
        with torch.autocast(grid.device.type, enabled=False):
            found = (weights[:, None] @ grid.float().flatten(2))[:, 0]
        logits = self.sharpness * found
        there = (logits.softmax(1) * found).sum(1, keepdim=True)
        return logits, there + F.softplus(self.least(sentence).float())
