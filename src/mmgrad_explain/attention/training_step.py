"""Compute the gradients and maps of a training step. Each kind of graph is checked once, at its first step."""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from mmgrad_explain.attention.assembly import weigh_all
from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.gradient import check_grids_reached, take_gradients
from mmgrad_explain.attention.layouts.layout import AnyLayout
from mmgrad_explain.attention.second_derivative import check_twice_differentiable, refuse_constant, watch_functions
from mmgrad_explain.attention.weighting import Weighting

Verified = set[tuple[Any, ...]]
"""The kinds of graph that were checked. A kind is the set of layers and whether attention ran as matrix products."""


def take_step_gradients(
    score: Tensor,
    seen: Capture,
    layouts: dict[str, list[AnyLayout]],
    verified: Verified,
    *,
    create_graph: bool,
    retain_graph: bool,
) -> dict[str, list[Tensor | None]]:
    """Take the gradient at every record and check that it reaches the grid and, where wanted, can be differentiated.

    Args:
        score: (B,).
        seen: The records of the forward that the score was computed from.
        layouts: The layouts of the records.
        verified: The kinds of graph that were checked before. With ``create_graph`` they are not checked again, because
            looking at values makes a GPU wait. Added to.
        create_graph: Make the gradients differentiable.
        retain_graph: Keep the graph.

    Raises:
        CaptureError: a layer has no record.
        GradientError: the gradient cannot be taken or cannot be differentiated, or does not reach the grid.
    """
    kind = *seen.records, seen.math_attention
    new = create_graph and kind not in verified
    watch: AbstractContextManager[list[str]] = contextlib.nullcontext([])
    if new:
        watch = watch_functions(score, seen.activations)
    with watch as faults:
        gradients, _ = take_gradients(score, seen, create_graph=create_graph, retain_graph=retain_graph)
    if new or not create_graph:
        check_grids_reached(gradients, layouts, seen.root)
    if new:
        check_twice_differentiable(score, [gradient for calls in gradients.values() for gradient in calls], faults)
        verified.add(kind)
    return gradients


def weigh_step(
    seen: Capture,
    gradients: dict[str, list[Tensor | None]],
    layouts: dict[str, list[AnyLayout]],
    weightings: Sequence[Weighting],
    *,
    graph: bool,
) -> list[dict[str, list[Tensor]]]:
    """Make the signed maps of every weighting, layer and call.

    Raises:
        GradientError: a loss on the maps would train nothing (only with ``graph``).
    """
    signed = [weigh_all(seen, gradients, layouts, weighting, graph=graph) for weighting in weightings]
    for maps in signed if graph else ():
        refuse_constant([grid for calls in maps.values() for grid in calls], "the weighting")
    return signed
