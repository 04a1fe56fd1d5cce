"""Check that a layer's cells lie where its layout says: a place that is marked on the image must be found again there.

The shape alone does not distinguish a grid of patches from sixteen groups, from patches in another order (windows, a
random order at each forward, the nested order of hierarchical models) or from as many channels. The layer's response
does: where pixels change, its cells change most, since convolutions are local and residual connections keep the
information of a place at its place.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.layouts.layout import AnyLayout, to_grid
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.running.structures import find_packed_patches, is_image, map_tensors
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.errors import InputError

# Marked places: rows and columns from and to, as fractions of height and width; no flip or swap of axes keeps them.
PLACES = (((0.55, 0.85), (0.10, 0.45)), ((0.05, 0.30), (0.60, 0.90)), ((0.30, 0.50), (0.05, 0.25)))

# How often a cell at a marked place must change more than a cell elsewhere: 1 if places are kept, 0.5 by chance.
FOUND = 0.8

_Place = tuple[tuple[float, float], tuple[float, float]]


def find_layers_in_place(root: nn.Module, seen: Capture, layouts: Mapping[str, AnyLayout], inputs: Any) -> set[str]:
    """Find the layers at which a marked place is found again where the layout says that it lies.

    The model runs once for each of three places, without gradients and with the same random numbers.

    Args:
        root: The model, undisturbed.
        seen: What the layers returned for ``inputs``.
        layouts: Name of each layer to check to the layout of its first call.
        inputs: (args, kwargs) of the call, unchanged.

    Returns:
        Their names; all names where there is no image that could be marked.
    """
    shares: dict[str, list[Tensor]] = {name: [] for name in layouts}
    layers = {name: seen.layers[name] for name in layouts}
    for place in PLACES:
        with contextlib.ExitStack() as stack:
            args, kwargs = marked = mark_images(inputs, place)
            if marked is inputs and not _mark_inside(root, place, stack):
                return set(layouts)
            stack.enter_context(same_randomness(list(root.parameters()), inputs))
            stack.enter_context(torch.no_grad())
            again = stack.enter_context(seen.record_again(layers))
            root(*args, **kwargs)
        for name, layout in layouts.items():
            shares[name].append(share_found(_measure_change(seen, again, name, layout), place))
    return {name for name, of_places in shares.items() if not torch.stack(of_places).mean() < FOUND}


def _measure_change(seen: Capture, again: Capture, name: str, layout: AnyLayout) -> Tensor:
    """Measure how much each cell of a layer's first call changed, (B, h, w); zero where the calls differ."""
    record, calls = seen.records[name][0], again.records[name]
    before = record.activation.detach()
    if len(calls) <= record.call or calls[record.call].activation.shape != before.shape:
        return before.new_zeros(1, 1, 1)
    change = to_grid(calls[record.call].activation.detach().float() - before.float(), layout).square().sum(1)
    return change if record.rows is None else change[list(record.rows)]


def _mark_inside(root: nn.Module, place: _Place, stack: contextlib.ExitStack) -> bool:
    """Mark images at the convolutions that read them, for a model that makes them itself; return if there are any."""
    first = [m for m in root.modules() if isinstance(m, nn.Conv2d) and m.in_channels in {1, 3}]
    for module in first:
        stack.callback(module.register_forward_pre_hook(lambda _module, args: mark_images(args, place)).remove)
    return bool(first)


def refuse_packed(inputs: Any) -> None:
    """Raise InputError for packed images whose order only the model knows.

    Args:
        inputs: (args, kwargs) of a call.
    """
    named = [item for item in (*inputs[0], inputs[1]) if isinstance(item, Mapping)]
    if any("image_grid_thw" in mapping for mapping in named):
        raise InputError(
            "image_grid_thw: the patches of all images come packed into one list, in an order that only the model "
            "knows: open the model with load_composer, which knows it too, or name target_layers and give layout= "
            "Cells or a callable"
        )
    shapes = next((m["spatial_shapes"] for m in named if isinstance(m.get("spatial_shapes"), Tensor)), None)
    if shapes is not None and len(set(map(tuple, shapes.tolist()))) > 1:
        raise InputError("spatial_shapes: images of several shapes have no grid in common: explain them one at a time")


def mark_images(inputs: Any, place: _Place) -> Any:
    """Return the inputs of a call with all images changed at one place, within their range of values.

    Args:
        inputs: What the model takes, nested as it comes. Images are what ``is_image`` says, and patches with their
            ``spatial_shapes``.
        place: Rows and columns, each from and to, as parts of the whole.

    Returns:
        The inputs with changed images; ``inputs`` itself where there are none.
    """
    packed = find_packed_patches(inputs)

    def change(tensor: Tensor) -> Tensor:
        if packed is not None and tensor is packed.patches:
            cells = packed.grid[0] * packed.grid[1]
            lying = tensor[:, :cells].transpose(1, 2).reshape(len(tensor), -1, *packed.grid)
            return torch.cat([invert_place(lying, place).flatten(2).transpose(1, 2), tensor[:, cells:]], 1)
        return invert_place(tensor, place) if is_image(tensor) else tensor

    return map_tensors(inputs, change)


def invert_place(image: Tensor, place: _Place) -> Tensor:
    """Give bright pixels at a place the smallest value of the image, and dark pixels the largest."""
    low, high = image.amin(), image.amax()
    inside, _ = _split_grid(image, place)
    other = torch.where(image > (low + high) / 2, low, high + (high == low))
    return torch.where(inside, other, image)


def _split_grid(grid: Tensor, place: _Place) -> tuple[Tensor, Tensor]:
    """Return masks (h, w) of the cells of a grid (..., h, w) at a place, by half or more, and of those outside it."""
    rows, columns = (_measure_cover(side, band) for side, band in zip(grid.shape[-2:], place, strict=True))
    at_place = (rows >= rows.max().clamp(max=0.5))[:, None] & (columns >= columns.max().clamp(max=0.5))
    return at_place.to(grid.device), (rows[:, None] * columns == 0).to(grid.device)


def _measure_cover(cells: int, band: tuple[float, float]) -> Tensor:
    """Measure how much of each cell along a side lies within a band, (cells,)."""
    edges = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    return ((edges[1:].clamp(max=band[1]) - edges[:-1].clamp(min=band[0])) * cells).clamp(min=0)


def share_found(change: Tensor, place: _Place) -> Tensor:
    """Measure how often a cell at a place changed more than a cell elsewhere.

    Equal changes count half. Pairs without any change do not count, because strides may skip the changed pixels.

    Args:
        change: How much each cell changed, (B, h, w).
        place: As in :func:`mark_images`.

    Returns:
        A number in [0, 1]; NaN where no cell lies elsewhere, 0 where nothing changed.
    """
    if not bool(change.count_nonzero()):
        return torch.zeros(())
    at_place, elsewhere = _split_grid(change, place)
    inside, outside = change[:, at_place].contiguous(), change[:, elsewhere].sort(-1).values
    below, not_above = (torch.searchsorted(outside, inside, right=right) for right in (False, True))
    neither = int(((inside == 0).sum(-1) * (outside == 0).sum(-1)).sum())
    pairs = len(change) * inside.shape[1] * outside.shape[1] - neither
    return ((below + not_above).sum().cpu() - neither) / 2 / pairs
