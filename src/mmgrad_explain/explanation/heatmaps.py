"""Maps on the pixels of the original images: heatmaps, peaks and bright regions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.explanation.maps import ExplainedMaps
from mmgrad_explain.explanation.placement import find_place, input_of, place_each
from mmgrad_explain.explanation.regions import Region, brightest_region
from mmgrad_explain.explanation.sides import map_of
from mmgrad_explain.images.placement import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Heatmaps(ExplainedMaps):
    """Explained maps that can be read on the original images. It has the same attributes."""

    def heatmap(
        self,
        index: int = 0,
        *,
        target: bool = False,
        normalize: bool = True,
        size: tuple[int, int] | None = None,
        image: Any = None,
        placement: Any = None,
    ) -> NDArray[np.float32]:
        """Return one map on the pixels of the original image.

        Args:
            index: Which sample.
            target: The target's map (the second call) instead of the reference's.
            normalize: Divide by the largest value. A flat map becomes zeros.
            size: (H, W) of another grid that evenly covers the image, such as that of a smaller copy.
            image: The image, where the explanation does not know it: anything ``open_image`` takes.
            placement: Where the image lies in the model's input: a ``Placement``; the transform of torchvision, timm or
                open_clip, or the processor of transformers, that made the input; or ``"stretch"`` for a resize that
                did not keep the shape.

        Returns:
            (H, W) float32, in [0, 1] when normalized. (H, W) is ``size``, or else the size of the original image where
            its placement is known, of the model's input, or of the map.

        Raises:
            InputError: there is no such sample or no map of a target, or the placement cannot be read from
                ``placement`` or does not fit.

        Warns:
            MMGradWarning: the image has another shape than the model's input, and no placement is given.
        """
        grid = map_of(self, index, target=target)
        place = find_place(self, index, image, placement, target=target)
        if place is not None:
            heat = (place if size is None else place.of_copy(size)).to_original(grid.cpu().numpy())
        else:
            heat = resize_maps(grid[None], size or input_of(self, target=target))[0].cpu().numpy()
        if not normalize:
            return heat
        largest = float(heat.max())
        if bool(grid.max() <= grid.min()) or largest <= 0:
            return np.zeros_like(heat)
        return np.asarray(np.clip(heat / largest, 0, 1), dtype=np.float32)

    def peak(self, index: int = 0, *, target: bool = False, **where: Any) -> tuple[int, int]:
        """Return (y, x) of the brightest pixel of :meth:`heatmap`, in pixels of the original image.

        Args:
            index: Which sample.
            target: The target's map.
            **where: Passed on to :meth:`heatmap`.

        Raises:
            InputError: the map is flat, so that no pixel is the brightest; or as :meth:`heatmap`.
        """
        heat = self.heatmap(index, target=target, **where)
        if heat.max() <= 0:
            raise InputError(f"the map of sample {index} is flat: it has no peak")
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        return int(y), int(x)

    def brightest_region(self, index: int = 0, *, target: bool = False, **where: Any) -> Region | None:
        """Return the connected region around the peak that is at least half as bright as the peak.

        Args:
            index: Which sample.
            target: The target's map.
            **where: Passed on to :meth:`heatmap`.

        Returns:
            Its share of the map, and its box in pixels of the original image; None for an empty map.

        Raises:
            InputError: as :meth:`heatmap`.
        """
        return brightest_region(self.heatmap(index, target=target, **where))

    def concentration(self, index: int = 0, fraction: float = 0.1, *, target: bool = False) -> float:
        """Return the share of the map that lies in its brightest pixels.

        Args:
            index: Which sample.
            fraction: Which fraction of all pixels counts as the brightest, in (0, 1].
            target: The target's map.

        Returns:
            In [0, 1]; about ``fraction`` for an evenly spread map, 0 for an empty one.

        Raises:
            InputError: ``fraction`` is not in (0, 1]; or as :meth:`heatmap`.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must be in (0, 1], not {fraction}")
        heat = np.sort(self.heatmap(index, target=target), axis=None)[::-1].astype(np.float64)
        total = heat.sum()
        return float(heat[: max(1, round(fraction * heat.size))].sum() / total) if total > 0 else 0.0

    def attach_images(
        self, images: Any, placement: Any = None, *, targets: Any = None, target_placement: Any = None
    ) -> Self:
        """Return the same explanation with its original images; everything is then drawn and measured on them.

        Args:
            images: The images: one for all samples, or a list with one each.
            placement: Where they lie in the model's input, as for :meth:`heatmap`; one for all, or a list.
            targets: The target images, likewise.
            target_placement: Where the target images lie; None takes ``placement`` if that is a transform.

        Raises:
            InputError: as :meth:`heatmap`, or there are several images but not one for each sample.
        """
        opened, places = place_each(self, images, placement, target=False)
        found = replace(self, images=opened, placements=places)
        if targets is None:
            return found
        if target_placement is None and not isinstance(placement, Placement | list | tuple):
            target_placement = placement
        opened, places = place_each(self, targets, target_placement, target=True)
        return replace(found, targets=opened, target_placements=places)
