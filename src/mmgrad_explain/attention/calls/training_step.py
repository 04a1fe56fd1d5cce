"""Compute the gradients and maps of a training step. Each kind of graph is checked once, at its first step."""

import contextlib
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.attention.gradient import check_grids_reached, take_gradients
from mmgrad_explain.attention.layouts.layout import AnyLayout
from mmgrad_explain.attention.methods.base import Method, MethodMaps
from mmgrad_explain.attention.methods.named import list_differentiable
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.running.second_derivative import (
    check_twice_differentiable,
    refuse_constant,
    watch_functions,
)
from mmgrad_explain.errors import InputError

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
    names: Collection[str] | None = None,
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
        names: The layers; None takes all that were recorded.

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
        gradients, _ = take_gradients(score, seen, create_graph=create_graph, retain_graph=retain_graph, names=names)
    if new or not create_graph:
        check_grids_reached(gradients, layouts, seen.root)
    if new:
        check_twice_differentiable(score, [gradient for calls in gradients.values() for gradient in calls], faults)
        verified.add(kind)
    return gradients


def _check_scorer(run: Run, method: Method, verified: Verified) -> None:
    """Check once that a method that computes scores itself computes the one that it is to explain.

    In training the two may differ by dropout, so that this is checked in evaluation mode alone.

    Raises:
        InputError: it computes another one.
    """
    kind = "replay", *run.seen.records
    if kind in verified or any(module.training for module in run.root.modules()):
        return
    with torch.no_grad():
        own, given = run.replay({}).float(), run.score.detach().float()
    if not torch.allclose(own, given, rtol=1e-2, atol=1e-3):
        raise InputError(
            f"score: method {method.name!r} runs the model's head again and computes the score of it, which is not the "
            "score that attend() got: make the MMGrad with that score=, a function of the model's output"
        )
    verified.add(kind)


def attend_step(run: Run, methods: Sequence[Method], verified: Verified) -> list[MethodMaps]:
    """Make the maps of every method of a training step, all from one gradient at the layers.

    Args:
        run: The step's forward.
        methods: What makes the maps.
        verified: As for :func:`take_step_gradients`.

    Raises:
        InputError: a method cannot be differentiated, or needs what was not recorded.
        GradientError: a loss on the maps would train nothing (only with a graph); or as :func:`take_step_gradients`.
    """
    for method in methods:
        if run.create_graph and not method.differentiable:
            raise InputError(
                f"method {method.name!r} makes maps that cannot be differentiated: leave create_graph out, or take one "
                f"of {', '.join(list_differentiable())}"
            )
        if method.needs.attention is not None and not run.attention:
            raise InputError(
                f"method {method.name!r} needs attention, which was not recorded: make the MMGrad with this method"
            )
        if method.needs.replay:
            _check_scorer(run, method, verified)
    if any(method.needs.layers for method in methods):
        gradients = take_step_gradients(
            run.score,
            run.seen,
            run.layouts,
            verified,
            create_graph=run.create_graph,
            retain_graph=run.retain_graph,
            names=run.targets,
        )
        run.taken = gradients, []
    made = [method.maps(run) for method in methods]
    for method, maps in zip(methods, made, strict=True) if run.create_graph else ():
        refuse_constant([grid for calls in maps.signed.values() for grid in calls], f"method {method.name!r}")
    return made
