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
        seen: What was recorded on the way to it.
        layouts: Of the records.
        verified: What was checked before, which with ``create_graph`` is not checked again: looking at values stops a
            GPU. Added to.
        create_graph: Make the gradients differentiable.
        retain_graph: Keep the graph.

    Raises:
        CaptureError: a layer has no record.
        GradientError: the gradient cannot be taken or not be differentiated, or does not reach the grid.
    """
    kind = *seen.records, seen.math_attention
    new = create_graph and kind not in verified
    watched: AbstractContextManager[list[str]] = contextlib.nullcontext([])
    if new:
        watched = watch_functions(score, seen.activations)
    with watched as faults:
        gradients, _ = take_gradients(score, seen, create_graph=create_graph, retain_graph=retain_graph)
    if new or not create_graph:
        check_grids_reached(gradients, layouts, seen.root)
    if new:
        check_twice_differentiable(score, [one for calls in gradients.values() for one in calls], faults)
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
        GradientError: with ``graph``, a loss on them would train nothing.
    """
    signed = [weigh_all(seen, gradients, layouts, one, graph=graph) for one in weightings]
    for maps in signed if graph else ():
        refuse_constant([one for calls in maps.values() for one in calls], "the weighting")
    return signed
