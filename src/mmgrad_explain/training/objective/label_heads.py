"""Linear heads that predict label maps from the explained feature grid.

They help training and are not saved, except where a model brings its own ``label_heads``: these are part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.composers.model_capabilities import label_heads_of
from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.distributed import mean_over_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.composers.contract import LabelClassifier, TrainingStages


_SIZES = {"object": "parts", "pixel_colour": "looks"}
"""Sizes of the reference network that give the classes of label maps."""


class LabelHeads(nn.Module):
    """A linear classifier of the cells of the feature grid for each label map.

    Args:
        width: Channels of the feature grid.
        classes: Number of classes by label map, background included.
        own: Classifiers of the model itself, by label map: they serve instead of new ones, and stay in the model.
    """

    def __init__(
        self, width: int, classes: Mapping[str, int], own: Mapping[str, LabelClassifier] | None = None
    ) -> None:
        super().__init__()
        self._own = {name: head for name, head in (own or {}).items() if name in classes}
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(width, count, 1) for name, count in sorted(classes.items()) if name not in self._own}
        )

    @classmethod
    def of(cls, stages: TrainingStages | None, classes: Mapping[str, int]) -> LabelHeads:
        """Build the heads for a composer and the label maps of its sources.

        Raises:
            InputError: If the composer has no stages, the sources have no label maps, or a classifier of the composer's
                own has other classes than they.
        """
        if stages is None:
            raise InputError(
                "dense.weight: this composer offers no feature grid by itself (see TrainingStages); set it to 0"
            )
        if not classes:
            raise InputError("dense.weight: none of the sources has label maps; set it to 0")
        own = label_heads_of(stages)
        for name, head in own.items():
            if classes.get(name, head.out_channels) != head.out_channels:
                raise InputError(
                    f"the model has {head.out_channels} classes for the label map {name!r}, and the sources have "
                    f"{classes[name]}: set model.sizes.{_SIZES.get(name, name)}"
                )
        return cls(stages.feature_width, classes, own)

    def forward(
        self,
        grid: Tensor,
        references: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        tags: Tensor | None = None,
        weight_of_tags: float = 0.5,
        *,
        balance: bool = True,
    ) -> Tensor:
        """Compute the cross-entropy, its mean over the label maps.

        Args:
            grid: ``(S + N, C, h, w)``.
            references: Label maps of the references, ``(S, H, W)`` uint8, by name.
            targets: Label maps of the targets, ``(N, H, W)`` uint8, by name.
            tags: Whether each class is in each image, ``(S + N, K)`` int8: 1, 0, or -1 where that is not known. It
                stands in for the label map of an image that has none, for heads of K classes.
            weight_of_tags: Weight of these images.
            balance: Let things and background count half each; otherwise every cell counts the same.

        Returns:
            A number; 0 if nothing is labelled.
        """
        losses = []
        heads: dict[str, LabelClassifier] = {**self.heads, **self._own}  # type: ignore[dict-item]  # they are Conv2d
        for name, head in heads.items():
            if name not in references:
                continue
            labels = read_at_cells(torch.cat([references[name], targets[name]]), (grid.shape[2], grid.shape[3])).long()
            logits = head(grid)
            each = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
            thing, ground = (labels > 0) & (labels != IGNORE), labels == 0
            groups = (thing, ground) if balance else (thing | ground,)
            means = [mean_over_all((each * group).flatten(), group.flatten()) for group in groups]
            loss = torch.stack(means).mean()
            if tags is not None and tags.shape[1] == logits.shape[1]:
                own = (labels == IGNORE).all(2).all(1) & (tags[:, 1:] == 1).any(1)
                missed = loss_of_tags(logits[own], tags[own])
                every = missed.new_zeros(len(grid)).index_put((own.nonzero()[:, 0],), missed)
                loss = loss + weight_of_tags * mean_over_all(every, own)
            losses.append(loss)
        return torch.stack(losses).mean() if losses else grid.new_zeros(())


_HIGHEST = 0.01
"""Share of the cells, those that show it best, that a tag is looked for in."""


def loss_of_tags(logits: Tensor, tags: Tensor) -> Tensor:
    """Compute how far a grid of classes contradicts the tags of its image.

    Args:
        logits: ``(B, K, h, w)``; class 0 is the background.
        tags: ``(B, K)`` int8: 1 is there, 0 is not, -1 is not known.

    Returns:
        ``(B,)``: the mean surprise of the cells that each shows a class that is there, or the background; plus that of
        the tags that each is somewhere.
    """
    logs = logits.float().log_softmax(1).flatten(2)
    allowed = tags != 0
    allowed[:, 0] = True
    cells = -logs.masked_fill(~allowed[..., None], -torch.inf).logsumexp(1).mean(1)
    best = logs.topk(max(1, round(_HIGHEST * logs.shape[2])), dim=2).values.mean(2)
    there = tags[:, 1:] == 1
    return cells - (best[:, 1:] * there).sum(1) / there.sum(1).clamp(min=1)


def read_at_cells(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Read label maps ``(B, H, W)`` at the centre of each cell, ``(B, h, w)``."""
    rows, columns = (
        ((torch.arange(cells, device=labels.device) + 0.5) * size / cells).long()
        for size, cells in zip(labels.shape[1:], grid, strict=True)
    )
    return labels[:, rows[:, None], columns[None]]
