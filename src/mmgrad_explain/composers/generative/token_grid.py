"""From an image's tokens, which may be tiled, packed or in windows, to the cells of one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.layouts.layout import Cells
from mmgrad_explain.composers.generative.model_parts import image_token_slots
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class TokenGrid:
    """Where each of an image's tokens lies in the frame that the map covers.

    Attributes:
        grid: (h, w) int64, the number of each cell's token among the tokens of its image.
        tokens: How many tokens an image has, including those without a cell (line ends, padding).
        whole: (gh, gw) int64, the tokens that show the whole image a second time; None if it is shown once.
        window: Top, bottom, left and right of the whole image in the frame, in cells of ``grid``; None is the whole
            frame.
    """

    grid: Tensor
    tokens: int
    whole: Tensor | None = None
    window: tuple[float, float, float, float] | None = None

    @property
    def name(self) -> str:
        """One line, such as ``26 x 39 cells and 13 x 13 of the whole``."""
        rows, columns = self.grid.shape
        again = "" if self.whole is None else f" and {self.whole.shape[0]} x {self.whole.shape[1]} of the whole"
        return f"{rows} x {columns} cells{again}"


def number_tiles(side: int, rows: int = 1, columns: int = 1, *, first: int = 0) -> Tensor:
    """Number the tokens of tiles, each (side, side) row by row, and put the tiles side by side.

    Args:
        side: Cells along a tile's side.
        rows: Rows of tiles.
        columns: Tiles in each row.
        first: How many tokens come before them.

    Returns:
        (rows * side, columns * side) int64.
    """
    numbers = torch.arange(first, first + rows * columns * side * side).reshape(rows, columns, side, side)
    return numbers.transpose(1, 2).reshape(rows * side, columns * side)


def make_cells(grid: TokenGrid, model_config: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Make the layout of a layer's output over images that all have the same grid.

    The map's weights are computed from all cells alike, those of the tiles and those of the whole image. Then the tiles
    are put side by side. The value of a cell of the whole image is spread evenly over the area that the cell shows, and
    added; so the sum over the frame is the sum over the cells. If a cell shows four cells of the tiles, a quarter of
    its value is added to each.

    Args:
        grid: Of each image.
        model_config: Config of the model of transformers.
        layer: Dotted name of the layer. In the language model, the images' tokens are found among those of the text.
        tensors: The tensors of the call, with ``input_ids``.

    Raises:
        InputError: If the language model's sequence has another number of image tokens.
    """
    images = len(tensors["input_ids"])
    slots = image_token_slots(model_config, layer, tensors, grid.tokens)
    order = grid.grid.flatten()
    if grid.whole is not None:
        order = torch.cat([order, grid.whole.flatten()])

    def read(x: Tensor) -> Tensor:
        if slots is not None:
            if x.ndim != 3 or x.shape[:2] != tensors["input_ids"].shape:
                raise InputError(f"layout: an output of shape {tuple(x.shape)} is not that of the tokens of {layer!r}")
            tokens = x[torch.arange(len(x), device=x.device)[:, None], slots.to(x.device)]
        else:
            tokens = _image_tokens(x, grid, images, layer)
        return tokens[:, order.to(x.device)].transpose(1, 2).unsqueeze(2)

    def fold(maps: Tensor) -> Tensor:
        rows, columns = grid.grid.shape
        values = maps[:, 0, : rows * columns].reshape(-1, rows, columns)
        if grid.whole is None:
            return values
        again = maps[:, 0, rows * columns :].reshape(-1, *grid.whole.shape)
        top, bottom, left, right = grid.window or (0.0, float(rows), 0.0, float(columns))
        over_rows = _shares(rows, grid.whole.shape[0], top, bottom).to(maps)
        over_columns = _shares(columns, grid.whole.shape[1], left, right).to(maps)
        return values + over_rows @ again @ over_columns.T

    return Cells(read, fold, grid.name)


def _image_tokens(x: Tensor, grid: TokenGrid, images: int, layer: str) -> Tensor:
    """Reshape the tokens of all tiles, or packed tokens, to (B, tokens, K)."""
    wanted = images * grid.tokens
    if x.ndim == 3 and x.shape[:-1].numel() != wanted:
        # Tiles are square; any further tokens of a tile (its class token) come before them.
        x = x[:, x.shape[1] - math.isqrt(x.shape[1]) ** 2 :]
    if x.ndim not in {2, 3} or x.shape[:-1].numel() != wanted:
        raise InputError(
            f"layer {layer!r}: an output of shape {tuple(x.shape)} is not {grid.tokens} tokens for each of the "
            f"{images} images: give a layout, or take another layer"
        )
    return x.reshape(images, grid.tokens, x.shape[-1])


def _shares(cells: int, parts: int, start: float, end: float) -> Tensor:
    """Compute the share of each part of ``[start, end]`` that lies in each cell of ``[0, cells]``, (cells, parts).

    Each part's shares sum to 1: a part outside counts for the nearest cell inside.
    """
    edges = torch.linspace(start, end, parts + 1, dtype=torch.float64)
    number = torch.arange(cells, dtype=torch.float64)[:, None]
    overlap = (torch.minimum(edges[1:], number + 1) - torch.maximum(edges[:-1], number)).clamp_min(0)
    outside = overlap.sum(0) <= 1e-9
    nearest = (edges[:-1] + edges[1:]).div(2).floor().clamp(0, cells - 1).long()
    overlap[:, outside] = (number == nearest[outside]).double()
    return overlap / overlap.sum(0)
