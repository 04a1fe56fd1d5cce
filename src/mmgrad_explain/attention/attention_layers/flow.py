"""How attention calls read one another: which tokens each call's queries and keys are, and what went into them.

Attention is the one operation that mixes tokens. Between two calls every token goes its own way (projections, norms,
feed-forward layers, residual connections), so that the autograd graph between them says which calls made a token: those
whose output reaches it without passing through another call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.attention.gradient import differentiate
from mmgrad_explain.attention.running.autograd_graph import find_stops_below, node_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.recording.attention_calls import AttentionCall

Calls = frozenset[int]
"""Numbers of attention calls."""


@dataclass(frozen=True)
class Tokens:
    """The tokens that one part of a model reads or writes.

    Attributes:
        stream: Which sequence of tokens they are. A residual stream keeps its number from its first call to its last.
        made_by: The calls that have added to these tokens, each with a residual connection around it.
        rows: Which tokens of the stream they are; None for all.
    """

    stream: int
    made_by: Calls
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class AttentionFlow:
    """How the attention calls of one forward read one another.

    Attributes:
        queries: The tokens that ask, one entry a call.
        keys: The tokens that are read, one entry a call. A call whose two streams are one is self-attention.
        read: The tokens that the score reads after the last call, one entry a stream.
        lengths: How many tokens each stream has.
        unskipped: Streams without a residual connection around their attention: what came before a call is found after
            it only in what the call made. A stream of a single call does not tell.
    """

    queries: tuple[Tokens, ...]
    keys: tuple[Tokens, ...]
    read: tuple[Tokens, ...]
    lengths: tuple[int, ...]
    unskipped: frozenset[int] = frozenset()

    def pad(self, number: int, weights: Tensor) -> Tensor:
        """Bring the attention of a call, (B, Nq, Nk), to all tokens of its streams, with zeros."""
        return _spread(self.spread_queries(number, weights), self.keys[number], self.lengths, 2)

    def spread_queries(self, number: int, values: Tensor) -> Tensor:
        """Bring values of the queries of a call, (B, Nq, ...), to all tokens of their stream, with zeros."""
        return _spread(values, self.queries[number], self.lengths, 1)


def _spread(values: Tensor, tokens: Tokens, lengths: Sequence[int], dim: int) -> Tensor:
    if tokens.rows is None:
        return values
    shape = [*values.shape]
    shape[dim] = lengths[tokens.stream]
    rows = torch.tensor(tokens.rows, device=values.device)
    return values.new_zeros(shape).index_copy(dim, rows, values)


def find_attention_flow(calls: Sequence[AttentionCall], score: Tensor) -> AttentionFlow:
    """Find which tokens each attention call reads, from the graph.

    Streams are told apart by what made them and by how many tokens they have. Fewer tokens than a call has made may be
    some of them (learned queries in front of words): the gradient tells which. A stream begins where there are other
    tokens than any call has made: at the first call, or where tokens are joined or merged.

    Args:
        calls: In the order in which they ran, their tensors in one graph.
        score: Computed in the same graph.
    """
    stops = {node_of(call.output): number for number, call in enumerate(calls) if call.output is not None}
    starts = [
        call.probabilities if tensor is None else tensor for call in calls for tensor in (call.queries, call.keys)
    ]
    *nearest, below_score = find_stops_below([*starts, score], stops)
    streams = _Streams(calls)
    for number, call in enumerate(calls):
        asks, has = call.probabilities.shape[-2:]
        of_queries, of_keys = nearest[2 * number], nearest[2 * number + 1]
        queries = streams.find(of_queries, asks, starts[2 * number], -2)
        keys = streams.find(of_keys, has, starts[2 * number + 1], -2 if call.keys is not None else -1)
        if queries is None:
            queries = streams.begin(asks, of_queries)
            if keys is None and asks == has and of_queries == of_keys:
                keys = queries
        keys = keys or streams.begin(has, of_keys)
        streams.add(queries, keys)
    return AttentionFlow(
        tuple(streams.queries), tuple(streams.keys), streams.split(below_score), tuple(streams.lengths),
        frozenset(streams.unskipped),
    )  # fmt: skip


class _Streams:
    """The streams of the calls so far."""

    def __init__(self, calls: Sequence[AttentionCall]) -> None:
        self.lengths: list[int] = []
        self.queries: list[Tokens] = []
        self.keys: list[Tokens] = []
        self.unskipped: set[int] = set()
        self._calls = calls
        self._joined: list[set[int]] = []

    def begin(self, length: int, nearest: Calls) -> Tokens:
        """Begin a stream, which no call has added to, but of tokens that these calls may have made."""
        self.lengths.append(length)
        self._joined.append({self.queries[call].stream for call in nearest})
        return Tokens(len(self.lengths) - 1, Calls())

    def add(self, queries: Tokens, keys: Tokens) -> None:
        """Add the next call."""
        self.queries.append(queries)
        self.keys.append(keys)

    def find(self, nearest: Calls, length: int, tensor: Tensor, dim: int) -> Tokens | None:
        """Find tokens by the calls that they come from; None where they are none of those that a call has made.

        Args:
            nearest: The calls.
            length: How many tokens there are.
            tensor: A tensor of them.
            dim: Its dimension of the tokens.
        """
        fitting = [call for call in nearest if self.lengths[self.queries[call].stream] == length]
        rows = None
        if not fitting:
            more = [call for call in nearest if self._calls[call].probabilities.shape[-2] > length]
            rows = self._find_rows(max(more), tensor) if more else None
            if rows is None or len(rows) != length or tensor.shape[dim] != length:
                return None
            fitting = [call for call in nearest if self.queries[call].stream == self.queries[max(more)].stream]
        stream = self.queries[max(fitting)].stream
        return Tokens(stream, self._close_stream(stream, fitting), rows)

    def _find_rows(self, call: int, tensor: Tensor) -> tuple[int, ...] | None:
        """Find the tokens of a call's output that a tensor depends on; None where it depends on none."""
        output = self._calls[call].output
        if output is None:
            return None
        weights = torch.linspace(0.5, 1.5, tensor.shape[-1], device=tensor.device, dtype=tensor.dtype)
        (gradient,) = differentiate((tensor * weights).sum(-1), [output], retain_graph=True)
        if gradient is None:
            return None
        return tuple(int(row) for row in gradient.count_nonzero((0, 1, 3)).nonzero()[:, 0].tolist())

    def split(self, nearest: Calls) -> tuple[Tokens, ...]:
        """Group calls by the stream that they added to, without streams whose tokens went into another of these."""
        streams = {self.queries[call].stream for call in nearest}
        found = sorted(streams.difference(*(self._joined[stream] for stream in streams)))
        return tuple(Tokens(stream, self._close_stream(stream, nearest)) for stream in found)

    def _close_stream(self, stream: int, nearest: Iterable[int]) -> Calls:
        """Take the calls that added to a stream, and add what had made their queries: a residual carries it on."""
        direct = Calls(call for call in nearest if self.queries[call].stream == stream)
        every = direct.union(*(self.queries[call].made_by for call in direct))
        if every != direct:
            self.unskipped.add(stream)
        return every
