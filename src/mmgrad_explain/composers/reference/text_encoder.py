"""The text encoder of the reference network: word embeddings, positions, a few transformer blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mmgrad_explain.composers.reference.config import NetworkConfig


class Attention(nn.Module):
    """Multi-head attention in plain operations, because the fused kernels have no second derivative."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Have ``x`` (B, N, W) attend to ``memory`` (B, L, W) where ``mask`` (B, L) is true."""
        batch, _, width = x.shape
        split = (batch, -1, self.heads, width // self.heads)
        query = self.query(x).view(split).transpose(1, 2)
        key, value = (part.reshape(split).transpose(1, 2) for part in self.key_value(memory).chunk(2, dim=-1))
        logits = query @ key.transpose(-1, -2) * split[-1] ** -0.5
        logits = logits.masked_fill(~mask[:, None, None, :], torch.finfo(logits.dtype).min)
        mixed = logits.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, -1, width))  # type: ignore[no-any-return]


class TextBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute ``(B, L, W) -> (B, L, W)``."""
        y = self.norm1(x)
        x = x + self.attention(y, y, mask)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Word embeddings, positions, a few transformer blocks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.text_width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(config.max_words, config.text_width) * 0.02)
        self.blocks = nn.ModuleList(TextBlock(config.text_width, config.heads) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.text_width)

    def forward(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ids and mask ``(B, L)``: word vectors ``(B, L, W)`` and their mean ``(B, W)``."""
        x = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        weights = mask[..., None].to(x.dtype)
        return x, (x * weights).sum(1) / weights.sum(1).clamp(min=1.0)
