"""Which layers and methods are compared in a calibration, and their maps of one call from one forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.attention.layers.choice import select_best
from mmgrad_explain.attention.layouts.layout import Layout
from mmgrad_explain.attention.methods.fused import Part
from mmgrad_explain.attention.methods.named import METHODS, ensure_method, list_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from mmgrad_explain.attention.layers.candidate import Candidate

MOST_LAYERS = 8
KNOW_NO_TEXT = ("attention-rollout",)
"""Methods whose maps are the same for every text: floors of a calibration, never its result."""


def list_methods(methods: Any) -> list[Any]:
    """Return the methods to compare: those given, or all that need no further runs of the model and read the text."""
    if methods is not None:
        return [ensure_method(method) for method in list_names(methods)]
    every = [make() for name, make in METHODS.items() if name not in KNOW_NO_TEXT]
    return [method for method in every if not method.needs.reruns]


def spread_layers(found: Sequence[Candidate], modules: Mapping[str, nn.Module], most: int = MOST_LAYERS) -> list[str]:
    """Choose layers of several depths to compare, the deepest last.

    Layers inside attention, of one channel, with text mixed in, or without a gradient are left out where there are
    others, as in the search for one layer. Of a block those layers count that are the block itself or a
    normalization before a part of it. Half of the layers are of the deepest grid, the others are spread over the
    stages before.

    Args:
        found: The candidate layers, in the order in which they run.
        modules: Dotted name to module.
        most: How many layers are chosen.
    """
    best = [candidate for candidate in select_best(found) if min(candidate.grid) >= 3] or select_best(found)
    grids = {candidate.name: candidate.grid for candidate in best}
    outer = [
        candidate
        for candidate in best
        if candidate.chosen or _normalizes_tokens(candidate, modules) or not _lies_in_a_like_one(candidate, grids)
    ]
    stages: dict[tuple[int, int], list[str]] = {}
    for candidate in outer:
        stages.setdefault(candidate.grid, []).append(candidate.name)
    deepest_first = list(reversed(stages.values()))
    if len(deepest_first) == 1:
        chosen = set(_spread(deepest_first[0], most))
    else:
        chosen = set(_spread(deepest_first[0], most // 2))
        for stage in deepest_first[1:4]:
            chosen |= set(_spread(stage, max(1, (most - most // 2) // len(deepest_first[1:4]))))
    chosen |= {candidate.name for candidate in found if candidate.chosen}
    return [candidate.name for candidate in found if candidate.name in chosen]


def list_parts(layers: Sequence[str], methods: Sequence[Any]) -> tuple[Part, ...]:
    """Return every method at every layer; a method that finds its own place stands once."""
    return tuple(Part(method, layer) for method in methods for layer in (layers if method.needs.layers else [None]))


def _spread(names: Sequence[str], most: int) -> list[str]:
    """Choose names evenly, the last one among them."""
    if len(names) <= most:
        return list(names)
    step = len(names) / most
    return [names[len(names) - 1 - int(number * step)] for number in range(most)]


def _lies_in_a_like_one(candidate: Candidate, grids: Mapping[str, tuple[int, int]]) -> bool:
    """Return whether a module around a layer is a candidate of the same grid: a block, and not a trunk of stages."""
    parts = candidate.name.split(".")
    around = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return any(grids.get(name) == candidate.grid for name in around)


def _normalizes_tokens(candidate: Candidate, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether a layer is a normalization of tokens, as it stands before each part of a transformer's block."""
    tokens = not isinstance(candidate.layout, Layout) or candidate.layout.kind == "tokens"
    return tokens and "Norm" in type(modules.get(candidate.name)).__name__
