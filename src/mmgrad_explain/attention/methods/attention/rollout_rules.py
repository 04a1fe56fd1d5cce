"""Attention rollout on matrices alone: how much of each first token is in each token after all attention layers.

Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, arXiv 2005.00928, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, Tokens


def roll_out(flow: AttentionFlow, attention: Sequence[Tensor]) -> list[dict[int, Tensor]]:
    """Multiply attention along all calls, half of each token coming through the residual connection.

    ``(A + I)`` with its rows divided by their sums is ``(A + I) / 2``. The same holds for attention to another stream:
    half of a token is what it was before, half is what it reads. A token that reads nothing stays as it was.

    Args:
        flow: How the calls read one another.
        attention: The mean over heads of each call's probabilities, (B, N, M).

    Returns:
        What the tokens that the score reads are made of, one entry for each entry of ``flow.read``: stream to (B, N,
        number of its first tokens). The rows of all streams together sum to 1.
    """
    after: list[dict[int, Tensor]] = []

    def made_of(tokens: Tokens) -> dict[int, Tensor]:
        if tokens.made_by:
            return after[max(tokens.made_by)]
        length, some = flow.lengths[tokens.stream], attention[0]
        return {tokens.stream: torch.eye(length, dtype=some.dtype, device=some.device).expand(len(some), -1, -1)}

    for weights, queries, keys in zip(attention, flow.queries, flow.keys, strict=True):
        sums = weights.sum(-1, keepdim=True)
        rows = weights / sums.clamp(min=torch.finfo(weights.dtype).tiny)
        mixed = {stream: rows @ share / 2 for stream, share in made_of(keys).items()}
        kept = torch.where(sums > 0, 0.5, 1.0).to(weights.dtype)
        for stream, share in made_of(queries).items():
            mixed[stream] = mixed[stream] + kept * share if stream in mixed else kept * share
        after.append(mixed)
    return [made_of(tokens) for tokens in flow.read]
