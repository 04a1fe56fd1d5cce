"""The brightest region of a map: how much of the map lies in it, and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """The bright cells that hang together with the seed: row by row, runs that touch runs already reached."""
    inside = np.zeros_like(bright)
    inside[seed] = True
    while True:
        before = int(inside.sum())
        for order in (range(len(bright)), range(len(bright) - 1, -1, -1)):
            for y in order:
                touched: NDArray[np.bool_] = np.asarray(inside[max(0, y - 1) : y + 2].any(0))
                if touched.any():
                    inside[y] |= _filled_runs(bright[y], _widened(touched))
        if int(inside.sum()) == before:
            return inside


def _widened(row: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = row.copy()
    wide[1:] |= row[:-1]
    wide[:-1] |= row[1:]
    return wide


def _filled_runs(bright: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All runs of bright cells that hold at least one seed."""
    edges = np.flatnonzero(np.diff(bright.astype(np.int8), prepend=0, append=0))
    filled = np.zeros_like(bright)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        filled[start:stop] = seeds[start:stop].any()
    return filled
