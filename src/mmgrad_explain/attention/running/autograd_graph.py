"""Search an autograd graph: what a tensor depends on, which nodes come last, and which nodes every path passes."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

_Key = TypeVar("_Key", bound=Hashable)


def node_of(tensor: Tensor) -> Any:
    """Return the graph node that makes a tensor; for a leaf, the node that accumulates its gradient."""
    return get_gradient_edge(tensor).node


def find_leaves_below(tensors: Iterable[Tensor], marks: Mapping[int, int]) -> list[int]:
    """Find the marked leaves that each tensor depends on; the graph is walked once.

    Args:
        tensors: Tensors of one graph; those without a gradient depend on nothing.
        marks: The ``id`` of each leaf to a bit.

    Returns:
        For each tensor the bits of its leaves, added up.
    """
    memo: dict[Any, int] = {}
    return [_bits_below(node_of(tensor), marks, memo) if tensor.requires_grad else 0 for tensor in tensors]


def find_nodes_to(start: Tensor, leaves: Iterable[Any]) -> set[Any]:
    """Return the nodes below a tensor that lead to one of the leaves.

    Args:
        start: The tensor.
        leaves: Nodes.
    """
    wanted = set(leaves)
    memo: dict[Any, int] = {}
    for node in _children_first(node_of(start), memo):
        below = any(memo[child] for child, _ in node.next_functions if child is not None)
        memo[node] = int(node in wanted or below)
    return {node for node, leads in memo.items() if leads}


def find_nearest_stops(start: Any, stops: Mapping[Any, _Key], allowed: set[Any] | None = None) -> set[_Key]:
    """Return the keys of those stops that can be reached from a node without passing another stop.

    Args:
        start: The node to start from, which is not a stop.
        stops: Nodes to stop at, each with its key.
        allowed: Only these nodes are entered; None for all.
    """
    found: set[_Key] = set()
    entered = {start}
    waiting = [start]
    while waiting:
        for child, _ in waiting.pop().next_functions:
            if child in stops:
                found.add(stops[child])
            elif child not in entered and child is not None and (allowed is None or child in allowed):
                entered.add(child)
                waiting.append(child)
    return found


def find_stops_below(starts: Iterable[Tensor], stops: Mapping[Any, int]) -> list[frozenset[int]]:
    """Find for each tensor the stops that can be reached from it without passing another stop; one walk for all.

    Args:
        starts: Tensors of one graph; those without a gradient reach nothing. A tensor made by a stop reaches that stop.
        stops: Nodes to stop at, each with its number, from 0.
    """
    memo: dict[Any, int] = {}
    found = []
    for start in starts:
        node = node_of(start) if start.requires_grad else None
        bits = 0
        if node is not None:
            for below in _children_first(node, memo):
                memo[below] = 0
                for child, _ in below.next_functions:
                    memo[below] |= _bit_or(stops, child, memo)
            bits = _bit_or(stops, node, memo)
        found.append(frozenset(number for number in stops.values() if bits >> number & 1))
    return found


def _bit_or(stops: Mapping[Any, int], node: Any, memo: Mapping[Any, int]) -> int:
    """Return the bit of a stop, or the bits below another node."""
    return 0 if node is None else 1 << stops[node] if node in stops else memo[node]


def every_path_passes(start: Any, gates: Sequence[Any], leaves: Iterable[Any], allowed: set[Any]) -> bool:
    """Return whether every path from a node down to one of the leaves passes one of the gates."""
    stops: dict[Any, str] = dict.fromkeys(leaves, "leaf") | dict.fromkeys(gates, "gate")
    return "leaf" not in find_nearest_stops(start, stops, allowed)


def _bits_below(start: Any, marks: Mapping[int, int], memo: dict[Any, int]) -> int:
    for node in _children_first(start, memo):
        bits = marks.get(id(getattr(node, "variable", None)), 0)
        for child, _ in node.next_functions:
            bits |= memo[child] if child is not None else 0
        memo[node] = bits
    return memo[start]


def _children_first(start: Any, done: Mapping[Any, int]) -> Iterator[Any]:
    stack = [(start, False)]
    entered = set()
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in done and node not in entered:
            entered.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None)
