"""The method and the layers of maps for which nobody names a method: by what the model does with its layers.

A model's own calibration and ``default_method`` come first. For other models ``benchmarks/strangers.py`` decides, which
measures every method on models of several kinds that were trained without a loss on maps:

- The gradient at the layer is the same at every place, as behind global average pooling: :data:`POOLED`. It equals
  HiResCAM there, and weightings that take the gradient place by place have nothing to add.
- It differs from place to place: :data:`UNEVEN`. The mean over places cancels positive against negative parts, and
  Grad-CAM is near chance on the relation network and below :data:`UNEVEN` on the transformers.
- It differs, and the model is a pyramid, convolutional grids that become coarser: the maps of the last
  :data:`PYRAMID_GRIDS` grids, multiplied. At the last grid of the relation network every weighting is near chance; two
  grids earlier LayerCAM points at the object many times as often, and so do the three together, with more of their
  energy on it. Only grids of at most :data:`FINEST` cells a side are taken: finer ones show edges.
- It differs, and the layer holds a class token: :data:`PREFIX`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmgrad_explain.attention.gradient import measure_unevenness
from mmgrad_explain.attention.layers.choice import select_best
from mmgrad_explain.attention.layouts.layout import Layout
from mmgrad_explain.attention.methods.base import Method, MethodMaps, Needs
from mmgrad_explain.attention.methods.fused import Fused, Part
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.attention.methods.weighted import Weighted
from mmgrad_explain.attention.places.record_layouts import grid_of_rows
from mmgrad_explain.attention.weighting import WEIGHTINGS

if TYPE_CHECKING:
    from mmgrad_explain.attention.layers.candidate import Candidate
    from mmgrad_explain.attention.layers.probe import Search
    from mmgrad_explain.attention.methods.run import Run

POOLED, UNEVEN = "gradcam", "layercam"
"""The weighting where the gradient is the same at every place, and where it differs."""
PREFIX = "layercam"
"""The method where a class token stands before the patches of the layer that is found."""
SAME = 0.05
"""The largest share of the gradient's norm that may differ from place to place where it counts as the same."""
PYRAMID_GRIDS = 3
"""How many grids of a pyramid are fused."""
FINEST = 64
"""The most cells a side of a grid of a pyramid that takes part."""


@dataclass(frozen=True)
class Automatic:
    """The weighting that the gradient at the target layers asks for: :data:`POOLED` or :data:`UNEVEN`."""

    name = "automatic"
    differentiable = True
    needs = Needs(layers=True)

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of the weighting that fits; ``MethodMaps.method`` says which."""
        name = POOLED if _is_same_everywhere(run) else UNEVEN
        return replace(Weighted(name, WEIGHTINGS[name]).maps(run), method=name)


def _is_same_everywhere(run: Run) -> bool:
    """Return whether the gradient is the same at every place of every layer and call that the score depends on."""
    return not any(
        measure_unevenness(grid_of_rows(gradient.detach(), layout, record.rows)) > SAME
        for name, calls in run.gradients().items()
        for record, gradient, layout in zip(run.seen.calls(name), calls, run.layouts[name], strict=True)
        if gradient is not None
    )


def choose_default(search: Search) -> tuple[Method, list[str]]:
    """Choose the method of a model of which nobody names layers, and the layers it is made at.

    Args:
        search: The layers that a map can be made at; one of them is chosen.

    Returns:
        The method, and the names of the target layers.
    """
    chosen = next(candidate for candidate in search.candidates if candidate.chosen)
    if search.uneven <= SAME:
        return ensure_method(POOLED), [chosen.name]
    if isinstance(chosen.layout, Layout) and chosen.layout.prefix:
        return ensure_method(PREFIX), [chosen.name]
    layers = [candidate.name for candidate in _find_pyramid(search, chosen)]
    if len(layers) < PYRAMID_GRIDS:
        return ensure_method(UNEVEN), [chosen.name]
    return Fused(tuple(Part(ensure_method(UNEVEN), layer) for layer in layers)), layers


def _find_pyramid(search: Search, chosen: Candidate) -> list[Candidate]:
    """Find the chosen layer and the last one of each of the next finer grids, up to :data:`PYRAMID_GRIDS`.

    All that the score sees passes them, as it passes the output of a stage and not the inside of a residual block.
    There is no pyramid where a layer on the way holds tokens, or is coarser than one after it, as between an encoder
    and a decoder.
    """
    before = search.candidates[: search.candidates.index(chosen)]
    on_the_way = [one for one in before if one.name in search.passed]
    if not all(isinstance(one.layout, Layout) and one.layout.kind == "nchw" for one in [*on_the_way, chosen]):
        return []
    found = [chosen]
    for candidate in reversed([one for one in select_best(search.candidates) if one in on_the_way]):
        height, width = candidate.grid
        if height < found[-1].grid[0] or width < found[-1].grid[1]:
            return []
        alike = candidate.calls == chosen.calls and candidate.image_names == chosen.image_names
        if alike and candidate.grid != found[-1].grid and max(candidate.grid) <= FINEST:
            found.append(candidate)
    return found[:PYRAMID_GRIDS]
