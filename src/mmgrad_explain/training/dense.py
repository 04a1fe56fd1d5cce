"""Labels read off the explained feature grid, a help in training: what is where, before any text is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.batches import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.training.stages import Stages


class LabelHeads(nn.Module):
    """A linear classifier of each cell for each label map. They are not saved with the model.

    Args:
        width: Channels of the feature grid.
        classes: Number of classes, background included, by name of the label map.
    """

    def __init__(self, width: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Conv2d(width, count, 1) for name, count in sorted(classes.items())})

    @classmethod
    def of(cls, stages: Stages | None, classes: Mapping[str, int]) -> LabelHeads:
        """The heads for a composer and what a source labels.

        Raises:
            InputError: If the composer cannot be taken apart, or the sources label nothing.
        """
        if stages is None:
            raise InputError("dense.weight: this composer offers no feature grid by itself (see Stages); set it to 0")
        if not classes:
            raise InputError("dense.weight: none of the sources has label maps; set it to 0")
        return cls(stages.feature_width, classes)

    def forward(self, grid: Tensor, references: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy, half of it over labelled cells and half over background; mean over the label maps.

        Args:
            grid: ``(S + N, C, h, w)``.
            references: Label maps ``(S, H, W)`` uint8 by name.
            targets: Label maps ``(N, H, W)`` uint8 by name.

        Returns:
            A number; 0 where nothing is labelled.
        """
        losses = []
        for name, head in self.heads.items():
            if name not in references:
                continue
            labels = at_cells(torch.cat([references[name], targets[name]]), (grid.shape[2], grid.shape[3])).long()
            each = F.cross_entropy(head(grid), labels, ignore_index=IGNORE, reduction="none")
            thing, ground = (labels > 0) & (labels != IGNORE), labels == 0
            parts = [(each * part).sum() / part.sum().clamp(min=1) for part in (thing, ground)]
            losses.append((parts[0] + parts[1]) / 2)
        return torch.stack(losses).mean() if losses else grid.new_zeros(())


class EmbeddingReader(nn.Module):
    """Reads off a picture's embedding which label is in which of 3x3 parts of it. Not saved with the model.

    The embedding is brought to zero mean and unit deviation, and a linear layer estimates for each label and part the
    square root of the share of it that the label covers.

    Args:
        width: Length of the embeddings.
        classes: Number of classes, background included, by name of the label map.
    """

    PARTS = 3

    def __init__(self, width: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.classes = dict(sorted(classes.items()))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, self.PARTS**2 * (count - 1)) for name, count in self.classes.items()}
        )

    @classmethod
    def of(cls, stages: Stages | None, classes: Mapping[str, int]) -> EmbeddingReader:
        """The reader for a composer and what a source labels.

        Raises:
            InputError: If the composer cannot be taken apart, or the sources label nothing.
        """
        if stages is None or not classes:
            raise InputError("dense.embedding needs a composer with stages and a source with label maps; set it to 0")
        return cls(stages.embed_dim, classes)

    def forward(self, embeddings: Tensor, references: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Squared error, summed over labels and parts, mean over pictures.

        Args:
            embeddings: ``(S + N, D)``, the references' first.
            references: Label maps ``(S, H, W)`` uint8 by name.
            targets: Label maps ``(N, H, W)`` uint8 by name.

        Returns:
            A number; 0 where nothing is labelled.
        """
        standard = F.layer_norm(embeddings, embeddings.shape[-1:])
        losses = []
        for name, head in self.heads.items():
            if name in references:
                shares = shares_of_parts(torch.cat([references[name], targets[name]]), self.classes[name], self.PARTS)
                losses.append((head(standard) - shares.sqrt()).square().sum(1).mean())
        return torch.stack(losses).sum() if losses else embeddings.new_zeros(())


def shares_of_parts(labels: Tensor, classes: int, parts: int) -> Tensor:
    """What share of each part of a picture every label but the background covers.

    Args:
        labels: ``(B, H, W)`` uint8.
        classes: Number of classes, background included.
        parts: Parts along each side.

    Returns:
        ``(B, (classes - 1) * parts * parts)`` float32.
    """
    thing = torch.stack([labels == value for value in range(1, classes)], 1).float()
    return F.adaptive_avg_pool2d(thing, parts).flatten(1)


def at_cells(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Label maps ``(B, H, W)`` looked up at the centre of each cell, ``(B, h, w)``."""
    rows, columns = (
        ((torch.arange(cells, device=labels.device) + 0.5) * size / cells).long()
        for size, cells in zip(labels.shape[1:], grid, strict=True)
    )
    return labels[:, rows[:, None], columns[None]]
