"""The brightest region of a map: how much of the map lies in it, and where it is."""

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
        share: Share of the map's mass that lies in it, in [0, 1]. Near 1: the map has one place. Near 0: it is spread
            out, and pointing to this region says little.
        box: (left, top, right, bottom) around it in pixels, right and bottom exclusive.
    """

    share: float
    box: tuple[int, int, int, int]

    def to_dict(self) -> dict[str, Any]:
        """Give it ready for JSON."""
        return {"share": self.share, "box": list(self.box)}


def brightest_region(heat: NDArray[np.float32], level: float = 0.5) -> Region | None:
    """The part around the maximum that is connected to it and at least ``level`` times as bright.

    Args:
        heat: (H, W), at least 0.
        level: Share of the maximum, in (0, 1].

    Returns:
        The region, or None for an empty map. Cells that touch by a side or a corner are connected.
    """
    largest = float(heat.max())
    if largest <= 0:
        return None
    bright = heat >= level * largest
    inside = _connected(bright, np.unravel_index(int(heat.argmax()), heat.shape))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    share = float(heat[inside].sum(dtype=np.float64) / heat.sum(dtype=np.float64))
    return Region(share, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _connected(bright: NDArray[np.bool_], seed: tuple[np.intp, ...]) -> NDArray[np.bool_]:
    """The bright cells that hang together with the seed: from run to run of bright cells in neighbouring rows."""
    edges = np.diff(bright.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]  # a run is [start, stop)
    first = np.searchsorted(rows, np.arange(len(bright) + 1))  # of the runs of each row
    begin = int(first[seed[0]] + np.searchsorted(starts[first[seed[0]] : first[seed[0] + 1]], seed[1], "right") - 1)
    reached, todo = {begin}, [begin]
    while todo:
        run = todo.pop()
        for y in (rows[run] - 1, rows[run] + 1):
            if not 0 <= y < len(bright):
                continue
            low, high = first[y], first[y + 1]  # of those, the ones that touch, by a corner too
            touching = range(
                int(low + np.searchsorted(stops[low:high], starts[run], "left")),
                int(low + np.searchsorted(starts[low:high], stops[run], "right")),
            )
            new = [other for other in touching if other not in reached]
            reached.update(new)
            todo += new
    inside = np.zeros_like(bright)
    for run in reached:
        inside[rows[run], starts[run] : stops[run]] = True
    return inside
