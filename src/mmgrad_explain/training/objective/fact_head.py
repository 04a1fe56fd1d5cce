"""A linear head that reads from an embedding what its image shows. It helps training and is not saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.training.distributed import mean_over_all

if TYPE_CHECKING:
    from mmgrad_explain.data.batches.facts import Facts


class FactHead(nn.Module):
    """Reads facts from embeddings of unit length, of images and of queries alike.

    Args:
        embed_dim: Length of the embeddings.
        facts: Number of facts.
    """

    def __init__(self, embed_dim: int, facts: int) -> None:
        super().__init__()
        self.head = nn.Linear(embed_dim, facts)
        nn.init.normal_(self.head.weight)  # embeddings have unit length

    def forward(self, gallery: Tensor, query: Tensor, facts: Facts) -> Tensor:
        """Compute how much the facts are missed: on images those that are known, on queries those that are asked for.

        Args:
            gallery: Embeddings of the targets, then of the references, ``(N + S, D)``.
            query: Composed embeddings, ``(N, D)``.
            facts: On both.

        Returns:
            A number, the mean of the binary cross-entropies: half over what is true, half over what is false.
        """
        wanted = torch.cat([facts.targets, facts.references, facts.asks])
        missed = F.binary_cross_entropy_with_logits(
            self.head(torch.cat([gallery, query])), (wanted == 1).float(), reduction="none"
        )
        true, false = (mean_over_all((missed * part).flatten(), part.flatten()) for part in (wanted == 1, wanted == 0))
        return (true + false) / 2
