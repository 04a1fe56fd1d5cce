"""The rules by which attention layers pass relevancy on, on matrices alone.

Source: Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers, arXiv 2103.15679, equations 5 to 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.attention.attention_layers.flow import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, Calls

Relevancies = dict[int, "Tensor"]
"""The relevancy of the first tokens of each stream for the tokens of one: stream to (B, N, number of first tokens)."""


def mean_positive(probabilities: Tensor, gradient: Tensor) -> Tensor:
    """Return the mean over heads of the positive part of attention times gradient: equation 5.

    Args:
        probabilities: (B, H, N, M), attention of N queries to M keys.
        gradient: (B, H, N, M), the score's gradient with respect to them.

    Returns:
        (B, N, M).
    """
    return (probabilities * gradient).relu().mean(1)


def normalise_rows(relevancy: Tensor) -> Tensor:
    """Divide the rows of a relevancy without its identity by their sums, and add the identity: equations 8 and 9.

    A row without relevancy keeps the identity alone, where the equations divide zero by zero.

    Args:
        relevancy: (B, N, N), of a stream for itself.
    """
    identity = torch.eye(relevancy.shape[-1], dtype=relevancy.dtype, device=relevancy.device)
    rest = relevancy - identity
    sums = rest.sum(-1, keepdim=True)
    return rest / torch.where(sums > 0, sums, torch.ones_like(sums)) + identity


def propagate(flow: AttentionFlow, attention: Sequence[Tensor | None]) -> list[Relevancies]:
    """Pass relevancy on through all attention calls.

    Every stream begins with the identity. Self-attention adds its attention times all that its tokens carry (equations
    6 and 7). Attention to another stream adds the relevancy of that stream, with the self-attention of both sides
    (equation 10), and all else that the other stream carries (equation 11). Each call reads its keys as they were when
    it ran, so that two streams may read each other at once. Where a stream takes in tokens of the same places from two
    sides, what both added counts once.

    Args:
        flow: How the calls read one another.
        attention: The result of equation 5 for each call, (B, N, M); None for a call without effect on the score.

    Returns:
        What the tokens that the score reads carry, one entry for each entry of ``flow.read``.
    """
    some = next((weights for weights in attention if weights is not None), None)
    if some is None:
        return [{} for _ in flow.read]
    states = _States(flow.lengths, some)
    for number, weights in enumerate(attention):
        if weights is None:
            continue
        queries, keys = flow.queries[number], flow.keys[number]
        carried = states.of(keys)
        added = {stream: weights @ relevancy for stream, relevancy in carried.items()}
        if queries.stream != keys.stream:
            own, other = states.of(queries)[queries.stream], carried[keys.stream]
            added[keys.stream] = normalise_rows(own).transpose(1, 2) @ weights @ normalise_rows(other)
        states.added[number] = added
    return [states.of(tokens) for tokens in flow.read]


class _States:
    """What tokens carry after any set of calls."""

    def __init__(self, lengths: Sequence[int], some: Tensor) -> None:
        self.added: dict[int, Relevancies] = {}
        self._lengths = lengths
        self._some = some
        self._known: dict[tuple[int, Calls], Relevancies] = {}

    def of(self, tokens: Tokens) -> Relevancies:
        """Add up the identity and what each call has added; the sums are kept, since each begins with another one."""
        effective = tokens.made_by.intersection(self.added)
        key = tokens.stream, effective
        if key not in self._known:
            self._known[key] = self._begin(tokens.stream) if not effective else self._extend(*key)
        return self._known[key]

    def _begin(self, stream: int) -> Relevancies:
        length, some = self._lengths[stream], self._some
        return {stream: torch.eye(length, dtype=some.dtype, device=some.device).expand(len(some), -1, -1)}

    def _extend(self, stream: int, calls: Calls) -> Relevancies:
        last = max(calls)
        before = self.of(Tokens(stream, calls - {last}))
        return _add(before, self.added[last])


def _add(first: Mapping[int, Tensor], second: Mapping[int, Tensor]) -> Relevancies:
    return {
        stream: first[stream] + second[stream] if stream in first and stream in second else {**first, **second}[stream]
        for stream in {**first, **second}
    }
