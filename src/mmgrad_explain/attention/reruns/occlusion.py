"""Occlusion maps: how much the score falls when a square of the image is hidden; no gradient is taken.

Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv 1311.2901, section 4.2. A square
is replaced by the same square of the blurred image and not by grey, which would be an object of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import fill_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mmgrad_explain.metrics.faithfulness import ImageScore

MOST_CELLS, FEWEST_CELLS = 64, 36
"""Between these numbers of cells a map's own grid is occluded; see :func:`occlusion_grid`."""


def occlusion_map(
    score: ImageScore,
    images: Tensor,
    before: Tensor | None = None,
    *,
    grid: tuple[int, int] = (8, 8),
    fill: str | Tensor = "blur",
    window: float = 1.0,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Compute how much the score of each sample falls when one cell of a grid is hidden.

    There is one run of the model for each cell and sample, ``batch`` of them together, and no gradient.

    Args:
        score: Scores changed images; :class:`~mmgrad_explain.attention.reruns.image_scores.ImageScores` for a model.
        images: (B, C, H, W), as the model takes them.
        before: (B,), the scores of the unchanged images; None computes them.
        grid: (h, w), the cells. They cover the image evenly, to the pixel.
        fill: What replaces a hidden square, as for :func:`~mmgrad_explain.metrics.faithfulness.deletion_insertion`.
        window: Side of the hidden square, in cells; above 1 the squares of neighbours overlap, which is smoother.
        batch: Images that are scored together.
        progress: Called with (done, of) after each batch.

    Returns:
        (B, h, w) float32, signed: the score of the image less that with the cell hidden; in the score's units.

    Raises:
        InputError: the grid has more cells than the image has pixels, ``window`` is not above 0, or ``fill`` is
            unknown.
    """
    height, width = images.shape[2:]
    if not (1 <= grid[0] <= height and 1 <= grid[1] <= width):
        raise InputError(f"grid: an image of {height} x {width} pixels has no {grid[0]} x {grid[1]} cells")
    if window <= 0:
        raise InputError(f"window must be above 0 cells, not {window}")
    filled = fill_images(images, fill)
    squares = list(_squares(grid, (height, width), window))
    count = len(images)
    jobs = torch.cartesian_prod(torch.arange(len(squares)), torch.arange(count))  # cell by cell: samples side by side
    drops: list[Tensor] = []
    with torch.no_grad():
        if before is None:
            before = _in_batches(score, images, batch)
        for part in torch.split(jobs, batch):
            sample = part[:, 1].to(images.device)
            changed = images[sample]
            for row, (cell, of) in enumerate(part.tolist()):
                rows, columns = squares[cell]
                changed[row, :, rows, columns] = filled[of, :, rows, columns]
            drops.append(before.to(images.device)[sample].float() - score(changed, sample).to(images.device).float())
            if progress is not None:
                progress(sum(map(len, drops)), len(jobs))
    return torch.cat(drops).view(*grid, count).permute(2, 0, 1).contiguous()


def occlusion_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Choose the grid on which a map is compared with an occlusion map.

    It is the map's own where that has 36 to 64 cells; else one of about 64 cells in the same proportions. Finer ones
    cost many runs, and hide so little that the score hardly moves.

    Args:
        grid: (h, w) of the map.
    """
    cells = grid[0] * grid[1]
    if FEWEST_CELLS <= cells <= MOST_CELLS:
        return grid
    scale = math.sqrt(MOST_CELLS / cells)
    return max(1, round(grid[0] * scale)), max(1, round(grid[1] * scale))


def pool_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring maps onto another grid: means over the cells of a coarser one, bilinearly onto a finer one.

    Args:
        maps: (B, h, w).
        grid: (h, w) of the result.
    """
    if maps.shape[1:] == grid:
        return maps.float()
    if maps.shape[1] >= grid[0] and maps.shape[2] >= grid[1]:
        return F.interpolate(maps[:, None].float(), size=grid, mode="area")[:, 0]
    return F.interpolate(maps[:, None].float(), size=grid, mode="bilinear", antialias=True)[:, 0]


def _in_batches(score: ImageScore, images: Tensor, batch: int) -> Tensor:
    index = torch.arange(len(images), device=images.device)
    return torch.cat([score(images[part], part) for part in torch.split(index, batch)])


def _squares(grid: tuple[int, int], size: tuple[int, int], window: float) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns that are hidden for each cell, row by row."""
    rows, columns = (_spans(cells, pixels, window) for cells, pixels in zip(grid, size, strict=True))
    return ((row, column) for row in rows for column in columns)


def _spans(cells: int, pixels: int, window: float) -> list[slice]:
    side = pixels / cells
    spare = (window - 1) / 2
    edges = [
        (max(0, round((cell - spare) * side)), min(pixels, round((cell + 1 + spare) * side))) for cell in range(cells)
    ]
    return [slice(start, max(stop, start + 1)) for start, stop in edges]
