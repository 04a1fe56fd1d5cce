"""Fuse the maps of several layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mmgrad_explain._system.choices import choose
from mmgrad_explain.errors import InputError

Fuse = Callable[[Tensor], Tensor]
"""Maps of L layers ``(L, B, h, w)`` to one map ``(B, h, w)``."""


def _mean(maps: Tensor) -> Tensor:
    return maps.mean(0)


def _max(maps: Tensor) -> Tensor:
    return maps.amax(0)


def _product(maps: Tensor) -> Tensor:
    return maps.prod(0)


FUSES: dict[str, Fuse] = {"mean": _mean, "max": _max, "product": _product}
"""The ways to fuse maps, by name."""


def ensure_fuse(fuse: "str | Fuse") -> Fuse:
    """Return the function that fuses the maps of several layers.

    Args:
        fuse: A name from ``FUSES``, or a callable that takes (L, B, h, w) and returns (B, h, w).

    Raises:
        TypeError: neither a name nor a callable.
        InputError: no such name.
    """
    return choose("fuse", fuse, FUSES)


def fuse_maps(maps: Sequence[Tensor], fuse: Fuse) -> Tensor:
    """Fuse the maps of several layers; the map of a single layer is returned as it is.

    Each map is divided by its largest magnitude, sample by sample, and resized bilinearly to the finest grid, so that
    no layer outweighs the others by its scale alone.

    Args:
        maps: One (B, h, w) a layer, each on its own grid.
        fuse: Takes (L, B, h, w) and returns (B, h, w).

    Returns:
        (B, h, w) on the finest grid, differentiable.

    Raises:
        InputError: the batches differ, or ``fuse`` returns another shape.
    """
    if len(maps) == 1:
        return maps[0]
    if len({len(m) for m in maps}) > 1:
        raise InputError(f"fuse: the layers' batches differ: {[len(m) for m in maps]}; explain them one by one")
    finest = max(((m.shape[1], m.shape[2]) for m in maps), key=lambda size: size[0] * size[1])
    stack = torch.stack([resize_maps(scale_by_peak(m), finest) for m in maps])
    fused = fuse(stack)
    if fused.shape != stack.shape[1:]:
        raise InputError(f"fuse must return a map of shape {tuple(stack.shape[1:])}, not {tuple(fused.shape)}")
    return fused


def scale_by_peak(maps: Tensor) -> Tensor:
    """Divide each map of (B, h, w) by its largest magnitude; a map of zeros stays zeros."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return maps / torch.where(largest > torch.finfo(maps.dtype).tiny, largest, torch.ones_like(largest))


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, h, w) bilinearly to (B, H, W); the cells of both grids cover the same image."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
