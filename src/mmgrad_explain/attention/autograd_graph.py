"""Questions to an autograd graph: what a tensor hangs on, which tensors come last, and what everything passes."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

_Key = TypeVar("_Key", bound=Hashable)


def node_of(tensor: Tensor) -> Any:
    """Give the node of the graph that makes a tensor, or takes its gradient in where the graph begins with it."""
    return get_gradient_edge(tensor).node


def hangs_on(tensors: Iterable[Tensor], marks: Mapping[int, int]) -> list[int]:
    """Say of each tensor which marked leaves it hangs on; the graph is walked once.

    Args:
        tensors: Of one graph; those without a gradient hang on nothing.
        marks: The leaves by their ``id``, each with a bit.

    Returns:
        The bits of the leaves that each hangs on, together.
    """
    memo: dict[Any, int] = {}
    return [_bits_below(node_of(tensor), marks, memo) if tensor.requires_grad else 0 for tensor in tensors]


def living(start: Tensor, leaves: Iterable[Any]) -> set[Any]:
    """Give the nodes below a tensor that lead to one of the leaves, which are nodes themselves."""
    wanted = set(leaves)
    memo: dict[Any, int] = {}
    for node in _children_first(node_of(start), memo):
        below = any(memo[child] for child, _ in node.next_functions if child is not None)
        memo[node] = int(node in wanted or below)
    return {node for node, lives in memo.items() if lives}


def last_ones(start: Any, stops: Mapping[Any, _Key], alive: set[Any] | None = None) -> set[_Key]:
    """Give the keys of those stops that are reached from a node without passing another stop.

    Args:
        start: The node to start from; it is no stop itself.
        stops: Nodes that are looked for.
        alive: Nodes that count, others are not entered; None for all.
    """
    found: set[_Key] = set()
    entered = {start}
    waiting = [start]
    while waiting:
        for child, _ in waiting.pop().next_functions:
            if child in stops:
                found.add(stops[child])
            elif child not in entered and child is not None and (alive is None or child in alive):
                entered.add(child)
                waiting.append(child)
    return found


def all_pass(start: Any, gates: Sequence[Any], leaves: Iterable[Any], alive: set[Any]) -> bool:
    """Say whether every way from a node down to one of the leaves passes one of the gates."""
    stops: dict[Any, str] = dict.fromkeys(leaves, "leaf") | dict.fromkeys(gates, "gate")
    return "leaf" not in last_ones(start, stops, alive)


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
