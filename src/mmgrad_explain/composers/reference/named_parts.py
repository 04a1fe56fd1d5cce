"""Parts that a text finds by name: classes of a segmentation head, each at its sides and sizes.

The trained head stays as it is, so that nothing of what it knows is lost. The features hold, for each class, the share
of it in each cell, and the same weighted by how far left, right, up or down the cell is and by how large the thing
there is. A text chooses a class by its words and a side or size by what it says: no class has to be learned again from
the photographs at hand, and those that these never show are found as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACED = ("anywhere", "left", "right", "top", "bottom", "large", "small")
"""How the evidence of a class is weighted: first not at all, then in the order of the channels."""

LEAST_NAMED = 0.5
"""Share of its meaning from which a sentence names a part."""

_REACHES = (0.15, 0.3, 0.5)
"""Sides of the squares in which the size of a thing is judged, as shares of the image's."""
_SURE = 6.0
"""Logit of what a word means, at first."""
_HEARD = 5.0
"""Initial bonus, in the attention over the words, of words that have a meaning."""
_QUICKLY = 10.0
"""Factor of the table of meanings, whose rows few steps of a training show."""


def place_parts(shares: Tensor) -> Tensor:
    """Weight shares ``(B, K, h, w)`` by place and size: ``(B, 6 K, h, w)``, the K of one kind together.

    To the left they are weighted by 1 down to 0 from the left edge to the right one, and so on. A cell's thing is large
    by the mean share around it, in squares of three sizes.
    """
    height, width = shares.shape[-2:]
    down, across = (
        (torch.arange(count, dtype=shares.dtype, device=shares.device) + 0.5) / count for count in (height, width)
    )
    large = torch.stack([_mean_around(shares, reach) for reach in _REACHES]).mean(0)
    weights = [1 - across, across, (1 - down)[:, None], down[:, None], large, 1 - large]
    return torch.cat([shares * weight for weight in weights], dim=1)


def _mean_around(shares: Tensor, reach: float) -> Tensor:
    """Average over squares, without their cells beyond the image: columns first, then rows, which is quicker."""
    size = 2 * (round(reach * min(shares.shape[-2:])) // 2) + 1
    down = F.avg_pool2d(shares, (size, 1), 1, (size // 2, 0), count_include_pad=False)
    return F.avg_pool2d(down, (1, size), 1, (0, size // 2), count_include_pad=False)


class WordMeanings(nn.Module):
    """Tells which of several meanings a sentence has: ``m(T) = sum_l a_l p_l`` over its words.

    Each word means something by ``p_l``, a softmax of a row of the table. The attention ``a`` hears words that mean
    something rather than others, and which of two by their context: the train in "replace the train with a bus", and
    not the size in "make the dog smaller". Meaning 0 stands for none.

    Args:
        vocabulary: Number of words.
        width: Length of the encoded words.
        meanings: Number of meanings.
    """

    def __init__(self, vocabulary: int, width: int, meanings: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, meanings)
        self.choose = nn.Linear(width, 1)
        for parameter in (self.choose.weight, self.choose.bias, self.table.weight):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.table.weight[:, 0] = _SURE / _QUICKLY

    def forward(self, input_ids: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Read ids ``(B, L)``, encoded words ``(B, L, W)`` and mask ``(B, L)``: ``(B, meanings)``, 1 in sum."""
        means = (_QUICKLY * self.table(input_ids).float()).softmax(-1)
        heard = self.choose(words)[..., 0].float() + _HEARD * (1 - means[..., 0])
        heard = heard.masked_fill(~mask, torch.finfo(heard.dtype).min)
        return (heard.softmax(-1)[..., None] * means).sum(1)  # type: ignore[no-any-return]

    def teach(self, meanings: Mapping[int, Sequence[int]]) -> None:
        """Say what words mean, by their ids: one thing, or any of several."""
        with torch.no_grad():
            for word, possible in meanings.items():
                self.table.weight[word] = 0.0
                self.table.weight[word, list(possible)] = _SURE / _QUICKLY


class PartNames(nn.Module):
    """What of which part a sentence names: its parts times its places, both by :class:`WordMeanings`.

    Args:
        vocabulary: Number of words.
        width: Length of the encoded words.
        parts: Number of parts; part 0, the background, stands for what has no name.
    """

    def __init__(self, vocabulary: int, width: int, parts: int) -> None:
        super().__init__()
        self.part = WordMeanings(vocabulary, width, parts)
        self.place = WordMeanings(vocabulary, width, len(PLACED))

    def forward(self, input_ids: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Read ids ``(B, L)``, encoded words ``(B, L, W)`` and mask ``(B, L)``: ``(B, len(PLACED), K)``, 1 in sum."""
        place, part = (each(input_ids, words, mask) for each in (self.place, self.part))
        return place[:, :, None] * part[:, None]  # type: ignore[no-any-return]


class PartSearch(nn.Module):
    """Looks for what a sentence names: ``w(T) . A(x)`` at each cell.

    ``A`` is the evidence of the parts, and its weights are what :class:`PartNames` says; the background's is 0.

    Args:
        width: Length of an encoded sentence.

    Attributes:
        presence: An ``Identity`` whose output is how surely each image shows what its sentence names, ``(B, 1)``: NaN
            where a sentence names no part. A module to hook.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.least = nn.Linear(width, 1)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.presence = nn.Identity()
        nn.init.zeros_(self.least.weight)
        nn.init.constant_(self.least.bias, -2.0)

    def forward(self, evidence: Tensor, sentence: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        """Find what sentences name in the evidence of the parts.

        Args:
            evidence: The shares of the parts, and those weighted by place, ``(B, len(PLACED) * K, h, w)``.
            sentence: ``(B, W)``.
            named: From :class:`PartNames`, ``(B, len(PLACED), K)``.

        Returns:
            How surely it is in each cell, times the sharpness, ``(B, h * w)``; and how surely it is there at all plus
            what the sentence changes in any case, ``(B, 1)``.
        """
        weights = F.pad(named[..., 1:], (1, 0)).flatten(1)
        with torch.autocast(evidence.device.type, enabled=False):
            found = (weights[:, None] @ evidence.float().flatten(2))[:, 0]
        logits = self.sharpness * found
        there = (logits.softmax(1) * found).sum(1, keepdim=True)
        heard = weights.float().sum(1, keepdim=True)
        none = torch.full_like(there, torch.nan)
        self.presence(torch.where(heard > LEAST_NAMED, there / heard.clamp(min=LEAST_NAMED), none))
        return logits, there + F.softplus(self.least(sentence).float())
