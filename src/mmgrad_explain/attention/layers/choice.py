"""Choose the layer that a map is made at: the last one that every path from the image to the score passes.

A gate, an auxiliary head or one stage of several lies on a side path, and part of the score bypasses it. "No path
bypasses the layer" is not enough as a rule: where a class token is read, most of the score bypasses the patches of the
last block. The question is therefore how much of the gradient *at the cells* of the last layer that every path passes
goes through the cells of a later layer. If all of it does, the later layer is as good, and later. The exception is a
score that reads a class token as well, which has collected information before: then the share of the whole gradient
counts.

A layer of one channel is not suitable for a map of a text, because another text gives the same map up to its sign. The
same holds for layers that the score sees only through such a layer, such as the hidden layers of a gate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgrad_explain.attention.layers.candidate import Candidate
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout
from mmgrad_explain.attention.places.record_layouts import grid_of_rows
from mmgrad_explain.attention.recording.records import Record
from mmgrad_explain.attention.running.autograd_graph import (
    every_path_passes,
    find_nearest_stops,
    find_nodes_to,
    node_of,
)

# The largest shares of the gradient that may bypass a layer: if "all" of it is to pass (rounding in half precision
# is below this), and if most of it is.
_ALL, _MOST = 0.03, 0.2


@dataclass(frozen=True)
class Trace:
    """The graph of one forward, from the score to the image.

    Attributes:
        score: (B,).
        records: Layer to the records of the explained image that the score depends on, with their gradients.
        leaves: Where the graph begins: the explained image, or what first looked at it.
        of_image: The gradient at the first leaf; None where that is not an image.
    """

    score: Tensor
    records: Mapping[str, Sequence[tuple[Record, Tensor]]]
    leaves: Sequence[Tensor]
    of_image: Tensor | None


def select_best(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Select the layers that suit a map best; a preference that no layer meets is ignored.

    The gradient must reach the layer. Preferred are layers without text, with several channels (with one channel every
    text gives the same map up to its sign), with at least 4 cells a side, and outside of attention (queries, keys and
    values lie between its input and its result).
    """
    left = [candidate for candidate in candidates if candidate.gradient_reaches]
    preferences: list[Callable[[Candidate], bool]] = [
        lambda candidate: candidate.mixes_text is not True,
        lambda candidate: candidate.channels > 1,
        lambda candidate: min(candidate.grid) >= 4,
        lambda candidate: not any(_is_inside_attention(part) for part in candidate.name.lower().split(".")),
    ]
    for preferred in preferences:
        left = [candidate for candidate in left if preferred(candidate)] or left
    return left


def choose_layer(candidates: Sequence[Candidate], trace: Trace) -> tuple[Candidate | None, str]:
    """Choose one of the layers that :func:`select_best` selects.

    Args:
        candidates: In the order in which they run.
        trace: The graph of the forward that they ran in.

    Returns:
        The candidate and "", or None and the message that says why.
    """
    left = select_best(candidates)
    if not left:
        return None, ""
    nodes = {
        candidate.name: [node_of(record.activation) for record, _ in trace.records[candidate.name]]
        for candidate in candidates
    }
    leaves = [node_of(leaf) for leaf in trace.leaves]
    start, allowed = node_of(trace.score), find_nodes_to(trace.score, leaves)

    def find_last_layers(names: set[str]) -> set[str]:
        return find_nearest_stops(start, {node: name for name in names for node in nodes[name]}, allowed)

    names = {candidate.name for candidate in left}
    blind = {
        candidate.name for candidate in candidates if candidate.channels == 1 and candidate.mixes_text is not True
    } - names
    found = find_last_layers(names | blind) & names or find_last_layers(names)
    ends = [candidate for candidate in reversed(left) if candidate.name in found]
    if len(ends) == 1:
        return ends[0], ""
    trunk = next(
        (candidate for candidate in reversed(left) if every_path_passes(start, nodes[candidate.name], leaves, allowed)),
        None,
    )
    if trunk is None and (not ends or trace.of_image is None):
        return None, _refuse(ends or left, {}, None)
    best, refusal = _compare(ends, trunk, trace)
    if best is None or trunk is None or not _drops_prefix(best, trunk, trace):
        return best, refusal
    missing, share = _measure_passing(trace, best, None)
    if missing <= _MOST:
        return best, ""
    passed = (
        candidate
        for candidate in reversed(left)
        if candidate is not trunk and every_path_passes(start, nodes[candidate.name], leaves, allowed)
    )
    return None, _refuse(
        [best],
        {best.name: share},
        next((candidate for candidate in passed if _measure_passing(trace, candidate, None)[0] <= _ALL), None),
    )


def find_passed(candidates: Sequence[Candidate], trace: Trace) -> frozenset[str]:
    """Return the names of the layers that every path from the image to the score passes."""
    leaves = [node_of(leaf) for leaf in trace.leaves]
    start, allowed = node_of(trace.score), find_nodes_to(trace.score, leaves)
    nodes = {one.name: [node_of(record.activation) for record, _ in trace.records[one.name]] for one in candidates}
    return frozenset(name for name, of_layer in nodes.items() if every_path_passes(start, of_layer, leaves, allowed))


def _drops_prefix(end: Candidate, trunk: Candidate, trace: Trace) -> bool:
    """Return whether the score reads prefix tokens of the trunk, such as a class token, and the end has none."""
    layout, of_end = trunk.layout, end.layout
    if not isinstance(layout, Layout) or not layout.prefix or trace.of_image is None:
        return False
    if isinstance(of_end, Layout) and of_end.prefix:
        return False
    return any(bool(gradient[:, : layout.prefix].count_nonzero()) for _, gradient in trace.records[trunk.name])


def _compare(ends: Sequence[Candidate], trunk: Candidate | None, trace: Trace) -> tuple[Candidate | None, str]:
    """Choose among the last layers of several paths and the last layer that all of them pass."""
    passing = {end.name: _measure_passing(trace, end, trunk) for end in ends if end is not trunk}
    missed = {name: missing for name, (missing, _) in passing.items()}
    choices = [candidate for candidate in ends if missed.get(candidate.name, 1) <= _ALL]
    if trunk is not None and all(end.grid == trunk.grid for end in ends):
        choices.append(trunk)
    choices += [candidate for candidate in ends if missed.get(candidate.name, 1) <= _MOST]
    if choices:
        return choices[0], ""
    return None, _refuse(ends, {name: share for name, (_, share) in passing.items()}, trunk)


def _measure_passing(trace: Trace, end: Candidate, trunk: Candidate | None) -> tuple[float, float]:
    """Measure how much of the gradient at a layer's cells bypasses those of a later layer, and what share passes."""
    inflow = [
        (record.activation, _zero_off_grid(gradient, end.layout, record))
        for record, gradient in trace.records[end.name]
    ]
    largest = max(float(gradient.abs().max()) for _, gradient in inflow)
    of_trunk = [] if trunk is None else trace.records[trunk.name]
    lower = [record.activation for record, _ in of_trunk] or list(trace.leaves[:1])
    taken = torch.autograd.grad(
        [activation for activation, _ in inflow],
        lower,
        [(gradient / largest).to(activation.dtype) for activation, gradient in inflow],
        retain_graph=True,
        allow_unused=True,
    )
    passed = [
        torch.zeros_like(where) if gradient is None else gradient for gradient, where in zip(taken, lower, strict=True)
    ]
    whole = [gradient for _, gradient in of_trunk]
    if not whole and trace.of_image is not None:
        whole = [trace.of_image]
    if trunk is not None:
        rows = [record.rows for record, _ in of_trunk]
        passed, whole = (
            [grid_of_rows(gradient, trunk.layout, kept) for gradient, kept in zip(values, rows, strict=True)]
            for values in (passed, whole)
        )
    some = torch.cat([gradient.flatten().float() for gradient in passed]) * largest
    every = torch.cat([gradient.flatten().float() for gradient in whole])
    size = float(every.norm())
    return float((every - some).norm()) / size, float(every @ some) / size**2


def _zero_off_grid(gradient: Tensor, layout: AnyLayout, record: Record) -> Tensor:
    """Set a gradient to zero off the grid: at prefix tokens, tokens after the grid, and rows of other images."""
    kept = gradient.clone()
    if record.rows is not None:
        other = torch.ones(len(kept), dtype=torch.bool, device=kept.device)
        other[list(record.rows)] = False
        kept[other] = 0
    if isinstance(layout, Layout) and layout.grid is not None and layout.prefix is not None:
        kept[:, : layout.prefix] = 0
        kept[:, layout.prefix + layout.grid[0] * layout.grid[1] :] = 0
    return kept


def _refuse(ends: Sequence[Candidate], shares: Mapping[str, float], trunk: Candidate | None) -> str:
    each = [
        f"{candidate.name!r} {candidate.grid[0]} x {candidate.grid[1]}"
        + (f" ({shares[candidate.name]:.0%})" if candidate.name in shares else "")
        for candidate in reversed(ends)
        if candidate is not trunk
    ]
    before = "" if trunk is None else f"; all of it passes {trunk.name!r} {trunk.grid[0]} x {trunk.grid[1]} before"
    return (
        "target_layers: the score takes what it sees from several layers side by side, and it is not clear which one "
        f"is meant: {', '.join(each)}{before}; name one, or several whose maps are fused"
    )


def _is_inside_attention(part: str) -> bool:
    return (
        "attn" in part or "attention" in part or part in {"q_proj", "k_proj", "v_proj", "qkv", "query", "key", "value"}
    )
