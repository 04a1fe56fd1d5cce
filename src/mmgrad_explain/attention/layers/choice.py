"""Choose the layer that a map is made at: the last one that all of the score passes on its way from the picture.

A gate, an auxiliary head or one stage of several lies beside that way: part of the score goes round it. "Nothing goes
round it" alone is no rule, though: where a class token is read, most of the score goes round the patches of the last
block. So what is asked is how much of what the score takes *from the cells* of the last layer that everything passes
goes on through the cells of a later one. Where that is all of it, the later one is as good, and later. Unless the
score reads a class token there, too, which has gathered what it knows before: then the share of all is what counts.

A layer of one channel is no place for a map of a text: another text gives the same map up to its sign. Nor is what the
score sees through such a layer alone, as the hidden layers of a gate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mmgrad_explain.attention.autograd_graph import all_pass, last_ones, living, node_of
from mmgrad_explain.attention.capture import Record
from mmgrad_explain.attention.gradient import cells_of
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout

# How much of the gradient misses a layer that "all" of it passes (rounding in half precision stays below), or most.
_ALL, _MOST = 0.03, 0.2


class Listed(Protocol):
    """What this module reads of a candidate layer."""

    @property
    def name(self) -> str:
        """Of the layer."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), cells."""

    @property
    def channels(self) -> int:
        """K."""

    @property
    def layout(self) -> AnyLayout:
        """How it lies on the picture."""

    @property
    def gradient_reaches(self) -> bool:
        """The score's gradient is not zero everywhere on the grid."""

    @property
    def mixes_text(self) -> bool | None:
        """Text has been mixed in."""


@dataclass(frozen=True)
class Trace:
    """The graph of one forward, from the score to the picture.

    Attributes:
        score: (B,).
        records: Layer to the records of the explained picture that the score depends on, with their gradients.
        leaves: Where the graph begins: the explained picture, or what first looked at it.
        of_picture: The gradient at the first leaf; None where that is no picture.
    """

    score: Tensor
    records: Mapping[str, Sequence[tuple[Record, Tensor]]]
    leaves: Sequence[Tensor]
    of_picture: Tensor | None


def narrow(candidates: Sequence[Any]) -> list[Any]:
    """Keep what a map can best be made at, as far as there is such a layer.

    The gradient reaches it; no text has come in yet; there are at least 4 cells a side; it is not inside an attention
    (queries, keys and values come after its input and before its result); and it has several channels, since with one
    every text gives the same map up to its sign.
    """
    left = [candidate for candidate in candidates if candidate.gradient_reaches]
    preferences: list[Callable[[Listed], bool]] = [
        lambda candidate: candidate.mixes_text is not True,
        lambda candidate: candidate.channels > 1,
        lambda candidate: min(candidate.grid) >= 4,
        lambda candidate: not any(_is_inside_attention(part) for part in candidate.name.lower().split(".")),
    ]
    for preferred in preferences:
        left = [candidate for candidate in left if preferred(candidate)] or left
    return left


def choose(candidates: Sequence[Any], trace: Trace) -> tuple[Any | None, str]:
    """Choose one of the layers that :func:`narrow` leaves.

    Args:
        candidates: In the order in which they run.
        trace: The forward that they ran in.

    Returns:
        The candidate and "", or None and what to say of it.
    """
    left = narrow(candidates)
    if not left:
        return None, ""
    nodes = {one.name: [node_of(record.activation) for record, _ in trace.records[one.name]] for one in candidates}
    leaves = [node_of(leaf) for leaf in trace.leaves]
    start, alive = node_of(trace.score), living(trace.score, leaves)

    def last(names: set[str]) -> set[str]:
        return last_ones(start, {node: name for name in names for node in nodes[name]}, alive)

    names = {one.name for one in left}
    blind = {one.name for one in candidates if one.channels == 1 and one.mixes_text is not True} - names
    found = last(names | blind) & names or last(names)
    ends = [one for one in reversed(left) if one.name in found]
    if len(ends) == 1:
        return ends[0], ""
    trunk = next((one for one in reversed(left) if all_pass(start, nodes[one.name], leaves, alive)), None)
    if trunk is None and (not ends or trace.of_picture is None):
        return None, _say(ends or left, {}, None)
    best, refusal = _compare(ends, trunk, trace)
    if best is None or trunk is None or not _leaves_prefix(best, trunk, trace):
        return best, refusal
    missing, share = _passing(trace, best, None)
    if missing <= _MOST:
        return best, ""
    passed = (one for one in reversed(left) if one is not trunk and all_pass(start, nodes[one.name], leaves, alive))
    return None, _say(
        [best], {best.name: share}, next((one for one in passed if _passing(trace, one, None)[0] <= _ALL), None)
    )


def _leaves_prefix(end: Listed, trunk: Listed, trace: Trace) -> bool:
    """Say whether the score reads prefix tokens of the trunk, such as a class token, and the end has none of them."""
    layout, own = trunk.layout, end.layout
    if not isinstance(layout, Layout) or not layout.prefix or trace.of_picture is None:
        return False
    if isinstance(own, Layout) and own.prefix:
        return False
    return any(bool(gradient[:, : layout.prefix].count_nonzero()) for _, gradient in trace.records[trunk.name])


def _compare(ends: Sequence[Any], trunk: Any | None, trace: Trace) -> tuple[Any | None, str]:
    """Choose among the last layers of several ways and the last layer that all of them pass."""
    passing = {end.name: _passing(trace, end, trunk) for end in ends if end is not trunk}
    missed = {name: missing for name, (missing, _) in passing.items()}
    choices = [one for one in ends if missed.get(one.name, 1) <= _ALL]
    if trunk is not None and all(end.grid == trunk.grid for end in ends):
        choices.append(trunk)
    choices += [one for one in ends if missed.get(one.name, 1) <= _MOST]
    if choices:
        return choices[0], ""
    return None, _say(ends, {name: share for name, (_, share) in passing.items()}, trunk)


def _passing(trace: Trace, end: Listed, trunk: Listed | None) -> tuple[float, float]:
    """How much of the gradient at the cells of one layer misses those of a later one, and what share passes them."""
    into = [(record.activation, _on_grid(gradient, end.layout, record)) for record, gradient in trace.records[end.name]]
    largest = max(float(gradient.abs().max()) for _, gradient in into)
    of_trunk = [] if trunk is None else trace.records[trunk.name]
    lower = [record.activation for record, _ in of_trunk] or list(trace.leaves[:1])
    taken = torch.autograd.grad(
        [activation for activation, _ in into],
        lower,
        [(gradient / largest).to(activation.dtype) for activation, gradient in into],
        retain_graph=True,
        allow_unused=True,
    )
    passed = [torch.zeros_like(where) if one is None else one for one, where in zip(taken, lower, strict=True)]
    whole = [gradient for _, gradient in of_trunk] or [one for one in [trace.of_picture] if one is not None]
    if trunk is not None:
        rows = [record.rows for record, _ in of_trunk]
        passed, whole = (
            [cells_of(one, trunk.layout, of_one) for one, of_one in zip(values, rows, strict=True)]
            for values in (passed, whole)
        )
    some = torch.cat([one.flatten().float() for one in passed]) * largest
    every = torch.cat([one.flatten().float() for one in whole])
    size = float(every.norm())
    return float((every - some).norm()) / size, float(every @ some) / size**2


def _on_grid(gradient: Tensor, layout: AnyLayout, record: Record) -> Tensor:
    """Leave of a gradient what lies on the grid: not the prefix tokens, nor rows of another picture."""
    kept = gradient.clone()
    if record.rows is not None:
        other = torch.ones(len(kept), dtype=torch.bool, device=kept.device)
        other[list(record.rows)] = False
        kept[other] = 0
    if isinstance(layout, Layout) and layout.grid is not None and layout.prefix is not None:
        kept[:, : layout.prefix] = 0
        kept[:, layout.prefix + layout.grid[0] * layout.grid[1] :] = 0
    return kept


def _say(ends: Sequence[Listed], shares: Mapping[str, float], trunk: Listed | None) -> str:
    each = [
        f"{one.name!r} {one.grid[0]} x {one.grid[1]}" + (f" ({shares[one.name]:.0%})" if one.name in shares else "")
        for one in reversed(ends)
        if one is not trunk
    ]
    before = "" if trunk is None else f"; all of it passes {trunk.name!r} {trunk.grid[0]} x {trunk.grid[1]} before"
    return (
        "target_layers: the score takes what it sees from several layers side by side, and it cannot be told which is "
        f"meant: {', '.join(each)}{before}; name one, or several whose maps are fused"
    )


def _is_inside_attention(part: str) -> bool:
    return (
        "attn" in part or "attention" in part or part in {"q_proj", "k_proj", "v_proj", "qkv", "query", "key", "value"}
    )
