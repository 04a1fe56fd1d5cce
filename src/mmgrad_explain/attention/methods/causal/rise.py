"""RISE as a method: how the score depends on what random masks show of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.methods.causal.image_changes import ChangedImage, map_each_image
from mmgrad_explain.attention.reruns.rise import rise_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mmgrad_explain.attention.methods.run import Run


@dataclass(frozen=True)
class Rise:
    """How much higher the score is where random masks show a pixel than where they hide it.

    Source: Petsiuk et al., arXiv 1806.07421; see :func:`~.rise.rise_map`.

    Attributes:
        masks: How many masks; the model runs once for each. The paper takes 4,000 to 8,000.
        seed: Of the masks. The same seed gives the same map.
        cells: Cells of the coarse grid of a mask on each side.
        keep: The probability that a cell is shown.
        fill: What hidden places become: ``"zero"`` (the paper's), ``"mean"`` or ``"blur"``.
        batch: Changed images that are scored together.
    """

    masks: int = 500
    seed: int = 0
    cells: int = 7
    keep: float = 0.5
    fill: str = "zero"
    batch: int = 32
    name = "rise"
    differentiable = False
    needs = Needs(reruns=True, gradient=False)

    def maps(self, run: Run) -> MethodMaps:
        """Make a signed map of every image: of its pixels, in the score's units."""

        def make(changed: ChangedImage, show: Callable[[int, int], None]) -> Tensor:
            return rise_map(
                changed.scores, changed.pixels, changed.before,
                masks=self.masks, cells=self.cells, keep=self.keep, fill=changed.filled, batch=self.batch,
                seed=self.seed, progress=show,
            )  # fmt: skip

        return map_each_image(run, self.name, self.fill, "random masks", make)
