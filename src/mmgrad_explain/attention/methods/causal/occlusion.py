"""Occlusion as a method: how much the score falls when a square of the image is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.methods.causal.image_changes import ChangedImage, map_each_image
from mmgrad_explain.attention.reruns.occlusion import occlusion_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mmgrad_explain.attention.methods.run import Run


@dataclass(frozen=True)
class Occlusion:
    """How much the score falls when a square of the image is hidden: what the model does, not what its gradient says.

    Source: Zeiler and Fergus, arXiv 1311.2901, section 4.2; see :func:`~.occlusion.occlusion_map`.

    Attributes:
        grid: Squares on each side of the image, or (h, w). The model runs once for each.
        fill: What a hidden square becomes: ``"blur"``, ``"mean"`` (the image's mean colour) or ``"zero"``.
        window: Side of a hidden square, in cells of the grid; above 1 neighbours overlap, so that the grid is the
            stride.
        batch: Changed images that are scored together.
    """

    grid: int | tuple[int, int] = 8
    fill: str = "blur"
    window: float = 1.0
    batch: int = 32
    name = "occlusion"
    differentiable = False
    needs = Needs(reruns=True, gradient=False)

    def maps(self, run: Run) -> MethodMaps:
        """Make a signed map of every image: on the grid, in the score's units."""
        grid = (self.grid, self.grid) if isinstance(self.grid, int) else self.grid

        def make(changed: ChangedImage, show: Callable[[int, int], None]) -> Tensor:
            return occlusion_map(
                changed.scores, changed.pixels, changed.before,
                grid=grid, fill=changed.filled, window=self.window, batch=self.batch, progress=show,
            )  # fmt: skip

        return map_each_image(run, self.name, self.fill, "hidden squares", make)
