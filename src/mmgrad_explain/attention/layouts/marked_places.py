"""Whether a layer's cells lie where they seem to: a place that is marked on the picture must be found again there.

Shapes alone cannot tell a grid of patches from sixteen groups, from patches in another order (windows, a random order
at each forward, the nested order of hierarchical models) or from as many channels. What a layer does can: where pixels
change, its cells change most, since convolutions are local and residual connections keep what a place says at its
place.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.layouts.layout import AnyLayout, to_grid
from mmgrad_explain.attention.structures import is_picture, map_tensors, packed_patches
from mmgrad_explain.attention.undisturbed import same_randomness
from mmgrad_explain.errors import InputError

# Marked places: rows and columns from and to, as parts of height and width. Alike under no flip and no exchange.
PLACES = (((0.55, 0.85), (0.10, 0.45)), ((0.05, 0.30), (0.60, 0.90)), ((0.30, 0.50), (0.05, 0.25)))

# How often a cell at a marked place must change more than one elsewhere: 1 where places are kept, 0.5 by chance.
FOUND = 0.8

_Place = tuple[tuple[float, float], tuple[float, float]]


def in_place(root: nn.Module, seen: Capture, layouts: Mapping[str, AnyLayout], inputs: Any) -> set[str]:
    """Say at which layers a marked place is found again where the layout says that it lies.

    The model runs once for each of three places, without gradients and with the same random numbers.

    Args:
        root: The model, undisturbed.
        seen: What the layers gave for ``inputs``.
        layouts: Name to the layout of its first call, of the layers in question.
        inputs: (args, kwargs) of the call, as the model has not seen them yet.

    Returns:
        The names; all of them where there is no picture that could be marked.
    """
    shares: dict[str, list[Tensor]] = {name: [] for name in layouts}
    layers = {name: seen.layers[name] for name in layouts}
    for place in PLACES:
        with contextlib.ExitStack() as stack:
            args, kwargs = marked = mark(inputs, place)
            if marked is inputs and not _mark_inside(root, place, stack):
                return set(layouts)
            stack.enter_context(same_randomness(list(root.parameters()), inputs))
            stack.enter_context(torch.no_grad())
            again = stack.enter_context(seen.alike(layers))
            root(*args, **kwargs)
        for name, layout in layouts.items():
            shares[name].append(share_found(_change(seen, again, name, layout), place))
    return {name for name, of_places in shares.items() if not torch.stack(of_places).mean() < FOUND}


def _change(seen: Capture, again: Capture, name: str, layout: AnyLayout) -> Tensor:
    """How much each cell of a layer's first call changed, (B, h, w); nothing where the call was another one."""
    record, calls = seen.records[name][0], again.records[name]
    before = record.activation.detach()
    if len(calls) <= record.call or calls[record.call].activation.shape != before.shape:
        return before.new_zeros(1, 1, 1)
    change = to_grid(calls[record.call].activation.detach().float() - before.float(), layout).square().sum(1)
    return change if record.rows is None else change[list(record.rows)]


def _mark_inside(root: nn.Module, place: _Place, stack: contextlib.ExitStack) -> bool:
    """Have pictures marked where a convolution reads them, for a model that makes them itself; say if there is one."""
    first = [m for m in root.modules() if isinstance(m, nn.Conv2d) and m.in_channels in {1, 3}]
    for module in first:
        stack.callback(module.register_forward_pre_hook(lambda _module, args: mark(args, place)).remove)
    return bool(first)


def refuse_packed(inputs: Any) -> None:
    """Raise InputError for pictures in a form whose places cannot be told from outside.

    Args:
        inputs: (args, kwargs) of a call.
    """
    named = [item for item in (*inputs[0], inputs[1]) if isinstance(item, Mapping)]
    if any("image_grid_thw" in one for one in named):
        raise InputError(
            "image_grid_thw: the patches of all pictures come packed into one list, whose order cannot be told from "
            "outside: open the model with load_composer, which knows it, or name target_layers and give layout= Cells "
            "or a callable"
        )
    shapes = next((one["spatial_shapes"] for one in named if isinstance(one.get("spatial_shapes"), Tensor)), None)
    if shapes is not None and len(set(map(tuple, shapes.tolist()))) > 1:
        raise InputError(
            "spatial_shapes: pictures of several shapes have no grid in common: explain them one at a time"
        )


def mark(inputs: Any, place: _Place) -> Any:
    """Give a call's inputs with all pictures changed at one place, within their range of values.

    Args:
        inputs: What the model takes, nested as it comes. Pictures are what ``is_picture`` says, and patches with their
            ``spatial_shapes``.
        place: Rows and columns, each from and to, as parts of the whole.

    Returns:
        The same with other pictures; ``inputs`` itself where there are none.
    """
    packed = packed_patches(inputs)

    def change(tensor: Tensor) -> Tensor:
        if packed is not None and tensor is packed.patches:
            cells = packed.grid[0] * packed.grid[1]
            lying = tensor[:, :cells].transpose(1, 2).reshape(len(tensor), -1, *packed.grid)
            return torch.cat([invert(lying, place).flatten(2).transpose(1, 2), tensor[:, cells:]], 1)
        return invert(tensor, place) if is_picture(tensor) else tensor

    return map_tensors(inputs, change)


def invert(picture: Tensor, place: _Place) -> Tensor:
    """Make what is bright at the place as dark as the picture gets, and what is dark as bright."""
    low, high = picture.amin(), picture.amax()
    there, _ = _parts(picture, place)
    other = torch.where(picture > (low + high) / 2, low, high + (high == low))
    return torch.where(there, other, picture)


def _parts(grid: Tensor, place: _Place) -> tuple[Tensor, Tensor]:
    """Which cells of a grid (..., h, w) lie at a place, at least half of them, and which do not touch it: (h, w)."""
    rows, columns = (_covered(side, band) for side, band in zip(grid.shape[-2:], place, strict=True))
    there = (rows >= rows.max().clamp(max=0.5))[:, None] & (columns >= columns.max().clamp(max=0.5))
    return there.to(grid.device), (rows[:, None] * columns == 0).to(grid.device)


def _covered(cells: int, band: tuple[float, float]) -> Tensor:
    """How much of each of the cells of a side lies within the band, (cells,)."""
    edges = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    return ((edges[1:].clamp(max=band[1]) - edges[:-1].clamp(min=band[0])) * cells).clamp(min=0)


def share_found(change: Tensor, place: _Place) -> Tensor:
    """Say how often a cell at a place changed more than one elsewhere; equal changes count half, none at all not.

    Strides may pass over pixels, so that cells at the place do not change, as those elsewhere.

    Args:
        change: How much each cell changed, (B, h, w).
        place: As in :func:`mark`.

    Returns:
        A number in [0, 1]; NaN where no cell is elsewhere, and 0 where nothing changed at all.
    """
    if not bool(change.count_nonzero()):
        return torch.zeros(())
    there, elsewhere = _parts(change, place)
    inside, outside = change[:, there].contiguous(), change[:, elsewhere].sort(-1).values
    below, not_above = (torch.searchsorted(outside, inside, right=right) for right in (False, True))
    neither = int(((inside == 0).sum(-1) * (outside == 0).sum(-1)).sum())
    pairs = len(change) * inside.shape[1] * outside.shape[1] - neither
    return ((below + not_above).sum().cpu() - neither) / 2 / pairs
