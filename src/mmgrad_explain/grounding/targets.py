"""Targets of the grounding loss: masks, boxes and points of a batch, drawn on the maps' grid.

All coordinates refer to the image as the model saw it. A cell's value is the share of it that is covered, scaled so
that the brightest cell of a mask is as bright as the mask itself: an object smaller than a cell stays visible.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.maps import in_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNITS = ("fraction", "pixel")
_SLACK = 0.05  # how far a fraction may be outside [0, 1]: detectors round, and boxes reach over the edge


class GroundingTargets(NamedTuple):
    """Where the maps of a batch should be bright.

    Attributes:
        masks: ``(B, h, w)`` float, values in [0, 1]; zeros for samples without supervision.
        supervised: ``(B,)`` bool.
    """

    masks: Tensor
    supervised: Tensor


def grounding_targets(
    grid: tuple[int, int],
    *,
    masks: Tensor | Sequence[Tensor | None] | None = None,
    boxes: Sequence[Any] | None = None,
    points: Sequence[Any] | None = None,
    supervised: Tensor | Sequence[bool] | None = None,
    units: str = "fraction",
    image_size: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
    point_sigma: float = 0.7,
    device: torch.device | str | None = None,
    validate: bool = True,
) -> GroundingTargets:
    """Draw a batch's targets on the grid of its maps.

    Each sample may have a mask, boxes, points, or several of these (the brightest counts in every cell). None, an empty
    list or a mask of zeros leaves its map without supervision.

    Args:
        grid: ``(h, w)`` of the maps.
        masks: ``(B, H, W)`` or ``(B, 1, H, W)`` of any resolution, values in [0, 1]; or a list with ``(H, W)`` of
            any resolution, or None, for each sample.
        boxes: For each sample any number of ``(x0, y0, x1, y1)`` (a list or ``(K, 4)``), or None.
        points: For each sample any number of ``(x, y)`` (a list or ``(K, 2)``), or None.
        supervised: ``(B,)`` bool; False leaves a sample out.
        units: Units of boxes and points: ``"fraction"`` of the image's width and height, or ``"pixel"``.
        image_size: ``(H, W)`` of the images in pixels, or one a sample; needed for pixels only.
        point_sigma: Standard deviation of the Gaussian that is drawn for a point, in cells; 0 draws its cell alone.
        device: Device of the result; None takes the masks' device, or the CPU.
        validate: Check the masks' values; on an accelerator this waits for the device.

    Raises:
        TypeError: If a mask is not a tensor.
        InputError: If shapes or lengths do not fit, or values of masks, boxes or points are out of range.
    """
    height, width = grid
    if height < 1 or width < 1:
        raise InputError(f"grid must be (h, w), each at least 1, got {grid}")
    if not point_sigma >= 0:
        raise InputError(f"point_sigma must be 0 (the cell) or above, in cells; got {point_sigma}")
    count = _batch_size(masks=masks, boxes=boxes, points=points)
    layers = []
    if masks is not None:
        layers.append(_from_masks(masks, grid, device, validate=validate))
        device = layers[0].device
    if boxes is not None or points is not None:
        sizes = _sizes(units, image_size, count)
        for name, values, numbers in (("boxes", boxes, 4), ("points", points, 2)):
            if values is not None:
                made = [_fractions(name, i, one, numbers, sizes[i]) for i, one in enumerate(values)]
                draw = _draw_boxes if numbers == 4 else _point_drawer(point_sigma)
                drawn = [
                    *(draw(one, grid) for one in made),
                    torch.zeros(grid),
                ]  # one more, to stack an empty batch
                layers.append(torch.stack(drawn)[:-1].to(device or "cpu"))
    brightest = torch.stack([layer.to(layers[0].dtype) for layer in layers]).amax(0)
    return GroundingTargets(brightest, find_supervised(brightest.amax((1, 2)) > 0, supervised))


def partner_masks(masks: Tensor, groups: Tensor) -> Tensor:
    """Join, for each sample, the masks of the other samples of the same image.

    Args:
        masks: ``(B, h, w)``.
        groups: The image of each sample, ``(B,)`` integers.

    Returns:
        ``(B, h, w)``; zeros for the only sample of an image.

    Raises:
        InputError: If the shapes do not fit.
    """
    if groups.shape != masks.shape[:1]:
        raise InputError(f"groups must have shape ({len(masks)},), one image a sample, not {tuple(groups.shape)}")
    same = groups[:, None] == groups[None]
    same.fill_diagonal_(fill_value=False)
    return torch.stack([(masks * row[:, None, None]).amax(0) for row in same])


def lay_on_grid(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average masks ``(B, H, W)`` over the exact area of each cell, ``(B, h, w)``; each mask keeps its maximum."""
    values = in_float32(masks)
    high, wide = (
        _coverage(torch.arange(n + 1, dtype=torch.float64) / n, cells)
        for n, cells in zip(values.shape[1:], grid, strict=True)
    )
    device = values.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        small = high.to(values).T @ values @ wide.to(values)
    peak, was = small.amax((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return (small * torch.where(peak > 0, was / torch.where(peak > 0, peak, 1), 0)).clamp(max=1)


def _coverage(edges: Tensor, cells: int) -> Tensor:
    """Return the share of each cell between neighbouring edges, ``(edges - 1, cells)``; the image has length 1.

    The ends of cells are computed as quotients, like the edges of pixels, so that equal ones are equal numbers: a pixel
    that only touches a cell adds nothing to it.
    """
    low, high = edges[:-1, None].double(), edges[1:, None].double()
    ends = torch.arange(cells + 1, dtype=torch.float64)[None] / cells
    overlap = torch.minimum(high, ends[:, 1:]) - torch.maximum(low, ends[:, :-1])
    return overlap.clamp(min=0) * cells


def _batch_size(**given: Tensor | Sequence[Any] | None) -> int:
    counts = {name: len(values) for name, values in given.items() if values is not None}
    if not counts:
        raise InputError("targets: give masks=, boxes= or points=")
    if len(set(counts.values())) > 1:
        raise InputError(f"targets: {', '.join(counts)} must be of one batch, got lengths {list(counts.values())}")
    return next(iter(counts.values()))


def _from_masks(
    masks: Tensor | Sequence[Tensor | None], grid: tuple[int, int], device: torch.device | str | None, *, validate: bool
) -> Tensor:
    if isinstance(masks, Tensor):
        if masks.dim() == 4 and masks.shape[1] == 1:
            masks = masks[:, 0]
        if masks.dim() != 3 or 0 in masks.shape[1:]:
            raise InputError(f"masks must be (B, H, W) or (B, 1, H, W), got {tuple(masks.shape)}")
        masks = masks if device is None else masks.to(device)
        if validate:
            _check_values(masks)
        return lay_on_grid(masks, grid)
    rows: list[Tensor | None] = []
    for index, mask in enumerate(masks):
        if mask is None:
            rows.append(None)
            continue
        if not isinstance(mask, Tensor):
            raise TypeError(f"masks: sample {index} must be a tensor (H, W) or None, not {type(mask).__name__}")
        if mask.dim() != 2 or 0 in mask.shape:
            raise InputError(f"masks: sample {index} must be (H, W), got {tuple(mask.shape)}")
        rows.append(_from_masks(mask[None], grid, device, validate=validate)[0])
    like = next((row for row in rows if row is not None), torch.zeros(grid, device=device))
    return torch.stack([torch.zeros_like(like) if row is None else row.to(like) for row in (*rows, like)])[:-1]


def _check_values(masks: Tensor) -> None:
    if masks.dtype == torch.bool or masks.numel() == 0:
        return
    low, high = (float(bound) for bound in torch.aminmax(masks))
    if not (low >= 0 and high <= 1):  # not true of NaN
        hint = "divide a mask of 0 to 255 by 255" if high == high else "it holds NaN"  # noqa: PLR0124
        raise InputError(f"masks must lie in [0, 1], got {low:g} to {high:g}: {hint}")


def _sizes(
    units: str, image_size: tuple[int, int] | Sequence[tuple[int, int]] | None, count: int
) -> list[tuple[float, float] | None]:
    """Return the divisor of the coordinates, ``(W, H)`` a sample; None for fractions."""
    if units not in UNITS:
        raise InputError(f"units must be 'fraction' or 'pixel', not {units!r}")
    if units == "fraction":
        return [None] * count
    if image_size is None:
        raise InputError("image_size: boxes and points in pixels need the images' size (H, W), or one a sample")
    every: list[Any] = [image_size] * count if isinstance(image_size[0], int | float) else list(image_size)
    if len(every) != count or any(len(size) != 2 or min(size) <= 0 for size in every):
        raise InputError(f"image_size must be (H, W) in pixels, or {count} of these, one a sample")
    return [(float(width), float(height)) for height, width in every]


def _fractions(name: str, index: int, values: Any, numbers: int, size: tuple[float, float] | None) -> Tensor:
    """Return one sample's boxes ``(K, 4)`` or points ``(K, 2)`` as fractions, cut to the image."""
    what = "(x0, y0, x1, y1)" if numbers == 4 else "(x, y)"
    given = [] if values is None else values.cpu() if isinstance(values, Tensor) else values
    if isinstance(given, list | tuple):
        given = [one.tolist() if isinstance(one, Tensor) else one for one in given]
    try:  # on the CPU, since not every device knows float64
        rows = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: sample {index} must be rows of {what}: {error}") from error
    if rows.numel() == 0:
        return rows.new_zeros((0, numbers))
    if rows.dim() == 1 and len(rows) == numbers:
        rows = rows[None]
    if rows.dim() != 2 or rows.shape[1] != numbers:
        raise InputError(f"{name}: sample {index} must be rows of {what}, got shape {tuple(rows.shape)}")
    if not bool(rows.isfinite().all()):
        raise InputError(f"{name}: sample {index} holds values that are not finite")
    if size is not None:
        rows = rows / torch.tensor(size * (numbers // 2), dtype=torch.float64)
    elif bool((rows < -_SLACK).any()) or bool((rows > 1 + _SLACK).any()):
        raise InputError(
            f"{name}: sample {index} reaches outside the image ({rows.min():g} to {rows.max():g}, in fractions of "
            "it); for pixels pass units='pixel' and image_size=(H, W)"
        )
    if numbers == 4:
        inside = rows.clamp(0, 1)
        if bool((inside[:, 2:] <= inside[:, :2]).any()):
            raise InputError(f"boxes: sample {index} holds a box with nothing in the image; (x0, y0, x1, y1), x0 < x1")
        return inside
    if bool((rows < -_SLACK).any()) or bool((rows > 1 + _SLACK).any()):
        raise InputError(f"points: sample {index} holds a point outside the image")
    return rows.clamp(0, 1)


def _draw_boxes(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    drawn = [torch.zeros(grid)]
    for x0, y0, x1, y1 in boxes:
        rows, columns = _coverage(torch.stack([y0, y1]), grid[0])[0], _coverage(torch.stack([x0, x1]), grid[1])[0]
        drawn.append((rows[:, None] * columns[None] / (rows.amax() * columns.amax())).float())
    return torch.stack(drawn).amax(0)


def _point_drawer(sigma: float) -> Callable[[Tensor, tuple[int, int]], Tensor]:
    def draw(points: Tensor, grid: tuple[int, int]) -> Tensor:
        drawn = [torch.zeros(grid)]
        for x, y in points:
            place = [value * cells for value, cells in zip((y, x), grid, strict=True)]
            if sigma == 0:
                one = torch.zeros(grid)
                row, column = (min(int(at), cells - 1) for at, cells in zip(place, grid, strict=True))
                one[row, column] = 1
            else:
                rows, columns = ((torch.arange(n) + 0.5 - at) / sigma for n, at in zip(grid, place, strict=True))
                far = rows.square()[:, None] + columns.square()[None]
                one = (-(far - far.min()) / 2).exp().float()
            drawn.append(one)
        return torch.stack(drawn).amax(0)

    return draw


def find_supervised(found: Tensor, given: Tensor | Sequence[bool] | None) -> Tensor:
    """Find the supervised samples: those with a mask, ``found`` (B,), that the caller did not leave out.

    Raises:
        InputError: If ``given`` is not ``(B,)`` bool.
    """
    if given is None:
        return found
    wanted = torch.as_tensor(given, device=found.device)
    if wanted.shape != found.shape or wanted.dtype != torch.bool:
        kind = str(wanted.dtype).removeprefix("torch.")
        raise InputError(f"supervised must be ({len(found)},) bool, got {tuple(wanted.shape)} {kind}")
    return found & wanted
