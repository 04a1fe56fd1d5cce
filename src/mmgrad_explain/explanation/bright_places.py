"""Measure where a map is bright, once for all descriptions of it.

The map is divided into its brightest region, other regions that are at least half as bright, what lies around these,
and what lies further away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.explanation.regions import bright_regions
from mmgrad_explain.explanation.sides import call_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mmgrad_explain.explanation.heatmaps import Heatmaps
    from mmgrad_explain.explanation.regions import Region

_AROUND = 0.1  # pixels nearer to a region than this fraction of the longer side lie around it


@dataclass(frozen=True)
class BrightPlaces:
    """Where a map is bright.

    Attributes:
        size: (H, W) of the map.
        regions: The brightest region first; none where the map is dark everywhere.
        reach: Up to how many pixels from the box of a region count as around it.
        around: Share of the map that lies in the regions or around them.
        around_first: Share of the map that lies in the brightest region or around it.
        reason: Why the map is dark everywhere: ``"empty"``, ``"flat"`` or ``"outside"``; empty where it is not.
    """

    size: tuple[int, int]
    regions: tuple[Region, ...]
    reach: int
    around: float
    around_first: float
    reason: str


def find_bright_places(explanation: Heatmaps, index: int = 0, *, target: bool = False) -> BrightPlaces:
    """Find the bright places of one map, in pixels of the original image.

    Raises:
        InputError: as :meth:`~mmgrad_explain.explanation.Explanation.heatmap`.
    """
    heat = explanation.heatmap(index, target=target)
    regions = tuple(bright_regions(heat))
    reach = max(1, round(_AROUND * max(heat.shape)))
    reason = "" if regions else _find_reason(explanation, index, call=call_of(explanation, target=target))
    around = _share_around(heat, regions, reach)
    around_first = around if len(regions) < 2 else _share_around(heat, regions[:1], reach)
    return BrightPlaces((heat.shape[0], heat.shape[1]), regions, reach, around, around_first, reason)


def _share_around(heat: NDArray[np.float32], regions: Sequence[Region], reach: int) -> float:
    """Return the share of a map inside the boxes of regions, each enlarged by ``reach`` pixels on all sides."""
    if not regions:
        return 0.0
    away = heat.copy()
    for left, top, right, bottom in (region.box for region in regions):
        away[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = 0
    return 1 - float(away.sum(dtype=np.float64) / heat.sum(dtype=np.float64))


def _find_reason(explanation: Heatmaps, index: int, *, call: int) -> str:
    """Find out why a map is dark everywhere."""
    grid = explanation.calls[call][index]
    if bool(grid.max() > grid.min()):
        return "outside"
    signed = [calls[call][index] for calls in explanation.signed.values() if call < len(calls)]
    return "empty" if any(bool((grid.max() <= 0) & (grid.min() < 0)) for grid in signed) else "flat"
