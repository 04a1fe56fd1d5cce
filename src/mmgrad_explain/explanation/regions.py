"""Find the bright regions of a map: where they are, and how much of the map lies in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Region:
    """A connected bright part of a map.

    Attributes:
        share: Share of the map's sum that lies in it, in [0, 1]. Near 1 the map has one bright place; near 0 it is
            spread out, and this region says little about it.
        box: (left, top, right, bottom) around it in pixels, right and bottom exclusive.
        area: Share of all pixels that lie in it, in (0, 1]. In a uniform map ``share`` equals ``area``.
    """

    share: float
    box: tuple[int, int, int, int]
    area: float

    def to_dict(self) -> dict[str, Any]:
        """Return share and box, ready for JSON."""
        return {"share": self.share, "box": list(self.box)}


def brightest_region(heat: NDArray[np.float32], level: float = 0.5) -> Region | None:
    """Find the connected region around the maximum that is at least ``level`` times as bright.

    Args:
        heat: (H, W), at least 0.
        level: Share of the maximum, in (0, 1].

    Returns:
        The region, or None for an empty map. Cells that touch by a side or a corner are connected.
    """
    return next(iter(bright_regions(heat, level)), None)


def bright_regions(heat: NDArray[np.float32], level: float = 0.5) -> list[Region]:
    """Find all connected regions that are at least ``level`` times as bright as the maximum.

    Args:
        heat: (H, W), at least 0.
        level: Share of the maximum, in (0, 1].

    Returns:
        First the region of the maximum, as :func:`brightest_region`, then the others by decreasing share; none for an
        empty map.
    """
    largest = float(heat.max())
    if largest <= 0:
        return []
    height, width = heat.shape
    bright = np.zeros((height, width + 2), bool)
    np.greater_equal(heat, level * largest, out=bright[:, 1:-1])
    # Alternately the first pixel of a run and the pixel after its last.
    edges = np.flatnonzero(bright[:, 1:] != bright[:, :-1])
    rows, columns = np.divmod(edges, width + 1)
    rows, starts, stops = rows[::2], columns[::2], columns[1::2]
    region = _number_regions(rows.tolist(), starts.tolist(), stops.tolist())
    count = int(region.max()) + 1
    mass = _sum_runs(heat, rows * width + starts, rows * width + stops)
    share = np.bincount(region, mass) / heat.sum(dtype=np.float64)
    area = np.bincount(region, stops - starts) / heat.size
    low, high = np.full((2, count), max(height, width)), np.zeros((2, count), np.intp)
    for axis, (first, last) in enumerate(((starts, stops), (rows, rows + 1))):
        np.minimum.at(low[axis], region, first)
        np.maximum.at(high[axis], region, last)
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    of_peak = region[np.flatnonzero((rows == peak[0]) & (starts <= peak[1]) & (peak[1] < stops))[0]]
    order = sorted(range(count), key=lambda number: (number != of_peak, -share[number]))
    boxes = np.concatenate([low, high]).T.tolist()
    return [Region(min(1.0, float(share[number])), tuple(boxes[number]), float(area[number])) for number in order]


def _sum_runs(heat: NDArray[np.float32], starts: NDArray[np.intp], stops: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum each run of pixels, given by where it starts and stops in the map read row by row."""
    ends = np.column_stack([starts, stops]).reshape(-1)
    ends = ends[:-1] if ends[-1] == heat.size else ends
    return np.asarray(np.add.reduceat(heat.reshape(-1), ends, dtype=np.float64)[::2])


def _number_regions(rows: list[int], starts: list[int], stops: list[int]) -> NDArray[np.intp]:
    """Number the regions: runs of bright pixels in neighbouring rows are connected if they touch, even by a corner."""
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    above = 0  # the first run of the row above that may touch the current run
    for run, row in enumerate(rows):
        while rows[above] < row - 1 or (rows[above] == row - 1 and stops[above] < starts[run]):
            above += 1
        other = above
        while rows[other] == row - 1 and starts[other] <= stops[run]:
            parent[root(other)] = root(run)
            other += 1
    return np.unique([root(run) for run in range(len(rows))], return_inverse=True)[1]
