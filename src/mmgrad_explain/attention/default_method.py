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
- Attention carries the tokens of an image to the score: :data:`TRANSFORMER`, whatever the gradient. The last blocks of
  a tower hold at one place what they have read at others, so that maps of a layer are near chance there, most of all
  behind pooling. It takes residual connections around attention as given (:func:`is_followed`).
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
    from collections.abc import Sequence

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.layers.candidate import Candidate
    from mmgrad_explain.attention.layers.probe import Search
    from mmgrad_explain.attention.methods.run import Run

POOLED, UNEVEN = "gradcam", "layercam"
"""The weighting where the gradient is the same at every place, and where it differs."""
TRANSFORMER = "relevancy"
"""The method of vision transformers whose attention can be followed."""
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


def is_followed(sites: Sequence[AttentionSite]) -> bool:
    """Return whether all that the score sees of an image comes by attention that :data:`TRANSFORMER` can follow.

    Tokens lie on the image, run in one sequence, pass each attention by a residual connection, and read no text.

    Args:
        sites: All attention of a model.
    """
    of_image = [site for site in sites if site.reached and (site.queries_from_image or site.keys_from_image)]
    return bool(of_image) and all(
        site.tokens_of is not None and site.passed and not (site.queries_from_text or site.keys_from_text)
        for site in of_image
    )


def choose_default(search: Search) -> tuple[Method, list[str], bool]:
    """Choose the method of a model of which nobody names layers by the gradient at its layers.

    Args:
        search: The layers that a map can be made at; one of them is chosen.

    Returns:
        The method, the names of the target layers, and whether the layer holds tokens, so that :data:`TRANSFORMER`
        comes first where the model's attention can be followed.
    """
    chosen = next(candidate for candidate in search.candidates if candidate.chosen)
    of_tokens = not isinstance(chosen.layout, Layout) or chosen.layout.kind == "tokens"
    if search.uneven <= SAME:
        return ensure_method(POOLED), [chosen.name], of_tokens
    layers = [] if of_tokens else [candidate.name for candidate in _find_pyramid(search, chosen)]
    if len(layers) < PYRAMID_GRIDS:
        return ensure_method(UNEVEN), [chosen.name], of_tokens
    return Fused(tuple(Part(ensure_method(UNEVEN), layer) for layer in layers)), layers, False


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
