"""Integrated gradients: the gradient of the score along a straight path from a baseline, times the way from there.

Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, arXiv 1703.01365.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgrad_explain.errors import GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable


def integrated_gradients(
    score: Callable[[Tensor], Tensor],
    values: Tensor,
    baseline: Tensor,
    *,
    steps: int = 50,
    at_once: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Compute ``(x - b)`` times the mean of the score's gradient on the way from b to x, place by place.

    Its sum over a sample is the score of ``values`` less that of ``baseline``, up to the error of the integral
    (completeness). captum computes it, with the Gauss-Legendre rule.

    Args:
        score: Takes (P * B, ...) points of the path, B samples of one step after those of the step before, and returns
            (P * B,) in the graph.
        values: x, (B, ...): images, or the output of a layer.
        baseline: b, of the same shape.
        steps: Points on the path.
        at_once: P, how many points are scored together.
        progress: Called with (done, of) after each batch of points.

    Returns:
        Of the shape of ``values``.

    Raises:
        InputError: ``steps`` is below 1.
        GradientError: the score does not depend on the values, or the gradient is not finite.

    Source: arXiv 1703.01365, equation 1 and, of the rule, section 5.
    """
    from captum.attr import IntegratedGradients

    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")
    done = 0

    def scored(points: Tensor) -> Tensor:
        nonlocal done
        found = score(points)
        if not found.requires_grad:
            raise GradientError(
                "the score does not depend on what is integrated over: a .detach(), torch.no_grad() or a quantized "
                "layer lies between; take at='layer' and a later layer, or a method that takes no gradient, such as "
                "'occlusion'"
            )
        done += len(points) // len(values)
        if progress is not None:
            progress(done, steps)
        return found

    with torch.enable_grad():
        found: Tensor = IntegratedGradients(scored).attribute(
            values, baseline, n_steps=steps, internal_batch_size=at_once * len(values)
        )
    found = found.detach()
    if not bool(found.isfinite().all()):
        raise GradientError("the integral is not finite: gradients overflow; try bfloat16 or float32")
    return found
