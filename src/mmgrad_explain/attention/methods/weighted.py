"""The simplest methods: a weighting of the target layers' activations by their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.attention.gradient import weigh
from mmgrad_explain.attention.methods.base import MethodMaps, Needs

if TYPE_CHECKING:
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.weighting import Weighting


@dataclass(frozen=True)
class Weighted:
    """A weighting as a method: the gradient of the score at the target layers weighs their activations.

    Attributes:
        name: Name of the weighting.
        weighting: Takes activation and gradient, both (B, K, h, w), and returns (B, h, w).
    """

    name: str
    weighting: Weighting
    differentiable = True
    needs = Needs(layers=True)

    def maps(self, run: Run) -> MethodMaps:
        """Make the signed maps of every target layer and call."""
        gradients = run.gradients()
        signed = {
            name: [
                weigh(record, gradient, layout, self.weighting, graph=run.create_graph)
                for record, gradient, layout in zip(run.seen.calls(name), of_calls, run.layouts[name], strict=True)
            ]
            for name, of_calls in gradients.items()
        }
        return MethodMaps(
            signed,
            {name: [*calls] for name, calls in run.layouts.items()},
            run.image_of_calls,
            {name: [gradient is not None for gradient in calls] for name, calls in gradients.items()},
        )
