"""A picture's tokens, in tiles, packed or in windows, to cells of one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.attention.layouts.layout import Cells
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Which of a picture's tokens lies where in the frame that its map covers.

    Attributes:
        grid: (h, w) int64, the number of each cell's token among those of its picture.
        tokens: How many tokens a picture has, those that lie nowhere (line ends, padding) included.
        whole: (gh, gw) int64, the tokens of the picture that is shown a second time as a whole; None where it is not.
        window: Top, bottom, left and right of the whole picture in the frame, in cells of ``grid``; the whole frame
            where None.
    """

    grid: Tensor
    tokens: int
    whole: Tensor | None = None
    window: tuple[float, float, float, float] | None = None

    def describe(self) -> str:
        """Say it in a line, such as ``26 x 39 cells and 13 x 13 of the whole``."""
        rows, columns = self.grid.shape
        again = "" if self.whole is None else f" and {self.whole.shape[0]} x {self.whole.shape[1]} of the whole"
        return f"{rows} x {columns} cells{again}"


def tiled(side: int, rows: int = 1, columns: int = 1, *, first: int = 0) -> Tensor:
    """Number the tokens of tiles, each (side, side) row by row, so that they lie side by side.

    Args:
        side: Cells along a tile's side.
        rows: Rows of tiles.
        columns: Tiles in each row.
        first: How many tokens stand before them.

    Returns:
        (rows * side, columns * side) int64.
    """
    numbers = torch.arange(first, first + rows * columns * side * side).reshape(rows, columns, side, side)
    return numbers.transpose(1, 2).reshape(rows * side, columns * side)


def merged(rows: int, columns: int, side: int) -> Tensor:
    """Number tokens that stand in blocks of (side, side), the blocks and what is in each row by row.

    Returns:
        (rows, columns) int64.
    """
    numbers = torch.arange(rows * columns).reshape(rows // side, columns // side, side, side)
    return numbers.transpose(1, 2).reshape(rows, columns)


def to_cells(places: Places, pictures: int, layer: str, slots: Tensor | None = None) -> Cells:
    """Say how a layer's output lies on each picture, all of them in the same way.

    The map's weights are made on all cells alike, those of the tiles and those of the whole picture. Then the tiles
    are put side by side. What a cell of the whole picture says is spread evenly over the area it shows and added, so
    that the sum over the frame is the sum over the cells: a cell that shows four cells of the tiles adds a quarter of
    its value to each.

    Args:
        places: Where one picture's tokens lie.
        pictures: How many pictures there are.
        layer: The layer's name, for messages.
        slots: (B, tokens) int64, where the tokens stand in a sequence that they share with text; None where the
            layer's output has only them. Tokens that every tile has before its cells (a class token) are left out.
    """
    order = places.grid.flatten()
    if places.whole is not None:
        order = torch.cat([order, places.whole.flatten()])

    def read(x: Tensor) -> Tensor:
        if slots is not None:
            tokens = x[torch.arange(len(x), device=x.device)[:, None], slots.to(x.device)]
        else:
            tokens = _of_pictures(x, places, pictures, layer)
        return tokens[:, order.to(x.device)].transpose(1, 2).unsqueeze(2)

    def fold(maps: Tensor) -> Tensor:
        rows, columns = places.grid.shape
        values = maps[:, 0, : rows * columns].reshape(-1, rows, columns)
        if places.whole is None:
            return values
        again = maps[:, 0, rows * columns :].reshape(-1, *places.whole.shape)
        top, bottom, left, right = places.window or (0.0, float(rows), 0.0, float(columns))
        over_rows = _spread(rows, places.whole.shape[0], top, bottom).to(maps)
        over_columns = _spread(columns, places.whole.shape[1], left, right).to(maps)
        return values + over_rows @ again @ over_columns.T

    return Cells(read, fold, places.describe())


def _of_pictures(x: Tensor, places: Places, pictures: int, layer: str) -> Tensor:
    """Bring tokens of all tiles, or packed ones, to (B, tokens, K)."""
    wanted = pictures * places.tokens
    if x.ndim == 3 and x.shape[:-1].numel() != wanted:
        # Tiles are square; what more a tile has is its class token, before them.
        x = x[:, x.shape[1] - math.isqrt(x.shape[1]) ** 2 :]
    if x.ndim not in {2, 3} or x.shape[:-1].numel() != wanted:
        raise InputError(
            f"layer {layer!r}: an output of shape {tuple(x.shape)} is not {places.tokens} tokens for each of the "
            f"{pictures} pictures: give a layout, or take another layer"
        )
    return x.reshape(pictures, places.tokens, x.shape[-1])


def _spread(cells: int, parts: int, start: float, end: float) -> Tensor:
    """(cells, parts): the share of each part of ``[start, end]`` that lies in each cell of ``[0, cells]``.

    Each part's shares sum to 1, so that what lies outside comes to the nearest cells inside.
    """
    edges = torch.linspace(start, end, parts + 1, dtype=torch.float64)
    number = torch.arange(cells, dtype=torch.float64)[:, None]
    overlap = (torch.minimum(edges[1:], number + 1) - torch.maximum(edges[:-1], number)).clamp_min(0)
    outside = overlap.sum(0) <= 1e-9
    nearest = (edges[:-1] + edges[1:]).div(2).floor().clamp(0, cells - 1).long()
    overlap[:, outside] = (number == nearest[outside]).double()
    return overlap / overlap.sum(0)
