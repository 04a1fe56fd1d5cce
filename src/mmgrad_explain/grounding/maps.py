"""Precision, checks, constant scales and dead maps: the helpers of all grounding losses."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def in_float32(value: Tensor) -> Tensor:
    """Convert a tensor to float32; float64 stays float64."""
    return value if value.dtype == torch.float64 else value.float()


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss so that it is computed in float32 (float64 for float64 maps), without autocast."""

    @functools.wraps(loss)
    def computed(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        maps = args[0]
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            kind = str(maps.dtype) if isinstance(maps, Tensor) else type(maps).__name__
            raise TypeError(f"maps must be a floating tensor (B, h, w), not {kind}")
        with torch.autocast(maps.device.type, enabled=False):
            return loss(in_float32(maps), *args[1:], **kwargs)  # type: ignore[arg-type]

    return computed


def check_pair(maps: Tensor, masks: Tensor, names: str = "maps and masks") -> Tensor:
    """Return the masks in the maps' dtype and on their device; raise InputError unless both are ``(B, h, w)``."""
    if maps.dim() != 3 or maps.shape != masks.shape:
        raise InputError(
            f"{names} must both be (B, h, w), got {tuple(maps.shape)} and {tuple(masks.shape)}: "
            "grounding_targets() lays any mask on a map's grid"
        )
    return masks.to(maps)


def floor_of(maps: Tensor) -> float:
    """Return the scale below which a map of this dtype counts as zero: dividing by it would overflow."""
    return float(torch.finfo(maps.dtype).tiny ** 0.5)


def peak_of(maps: Tensor) -> Tensor:
    """Return each map's maximum, ``(B, 1, 1)``, detached; 1 where it counts as zero."""
    peak = maps.detach().amax((1, 2), keepdim=True)
    return torch.where(peak > floor_of(maps), peak, torch.ones_like(peak))


def reach_of(maps: Tensor) -> Tensor:
    """Return each map's largest magnitude, ``(B, 1, 1)``, detached; 1 where it counts as zero."""
    return peak_of(maps.abs())


def spread_of(maps: Tensor, *, centred: bool) -> tuple[Tensor, Tensor]:
    """Return each map's centre and spread, ``(B, 1, 1)`` each, detached.

    Args:
        maps: ``(B, h, w)``, signed.
        centred: Take mean and standard deviation; otherwise 0 and the root mean square.

    Returns:
        Centre and spread; a spread that counts as zero is given as 1.
    """
    still = maps.detach()
    centre = still.mean((1, 2), keepdim=True)
    if not centred:
        centre = torch.zeros_like(centre)
    largest = reach_of(still - centre)  # so that squares neither overflow nor vanish
    spread = largest * ((still - centre) / largest).square().mean((1, 2), keepdim=True).sqrt()
    return centre, torch.where(spread > floor_of(maps), spread, torch.ones_like(spread))


def rectify(maps: Tensor) -> Tensor:
    """Set negative values to 0 and divide each map by its detached maximum: ``(B, h, w)`` in [0, 1]."""
    bright = maps.relu()
    return bright / peak_of(bright)


def stretch(maps: Tensor) -> Tensor:
    """Scale each rectified map from its minimum, 0, to its maximum, 1; both are held constant. A flat map becomes 0."""
    bright = rectify(maps)
    low = bright.detach().amin((1, 2), keepdim=True)
    room = 1 - low
    return (bright - low) / torch.where(room > floor_of(maps), room, torch.ones_like(room))


def stretch_recoverably(maps: Tensor) -> Tensor:
    """Scale maps as :func:`stretch` does, where a value below 0 has the gradient of one just above it."""
    scaled = maps / peak_of(maps.relu())
    return stretch(maps) + (scaled - scaled.detach()) * (scaled.detach() <= 0)  # adds 0, but for its gradient


def cosine_of(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of two rectified maps, ``(B,)``; 0, with a finite gradient, where either is dark."""
    squares = first.square().sum((1, 2)) * second.square().sum((1, 2))
    bright = squares > torch.finfo(first.dtype).eps ** 2
    length = torch.where(bright, squares, torch.ones_like(squares)).sqrt()
    return torch.where(bright, (first * second).sum((1, 2)) / length, torch.zeros_like(length))


def mean_in(values: Tensor, region: Tensor) -> Tensor:
    """Return the mean of a map over a region, weighted by it, ``(B,)``; 0 for an empty region."""
    return (values * region).sum((1, 2)) / region.sum((1, 2)).clamp(min=torch.finfo(region.dtype).eps)


def dead_maps(maps: Tensor) -> Tensor:
    """Find the maps that show nothing: no cell of the rectified map is brighter than another.

    Differences within the rounding of the dtype do not count. A map with a NaN is not dead: its loss is NaN.

    Args:
        maps: ``(B, h, w)``, signed or not.

    Returns:
        ``(B,)`` bool.
    """
    bright = in_float32(maps.detach()).relu()
    peak, least = bright.amax((1, 2)), bright.amin((1, 2))
    slack = (peak * 4 * torch.finfo(bright.dtype).eps).clamp(min=floor_of(bright))
    return (peak - least) <= slack


def dead_is_worst(loss: Tensor, worst: Tensor | float, maps: Tensor, masks: Tensor) -> Tensor:
    """Set the loss of dead maps to its worst value, with a gradient that raises them inside the mask.

    The gradient of a dead map is that of the loss plus that of ``-sum_x t(x) M(x) / rms(M)``, ``t = m / sum(m)``. A map
    that is zero everywhere gets no gradient.

    Args:
        loss: ``(B,)``.
        worst: A value that no live map exceeds: ``(B,)`` or a number.
        maps: ``(B, h, w)``, signed if the caller has signed maps.
        masks: Where each map should be bright, ``(B, h, w)``.

    Returns:
        ``(B,)``.
    """
    _, spread = spread_of(maps, centred=False)
    lift = -(share_of(masks) * maps / spread).sum((1, 2))
    push = loss + lift
    return torch.where(dead_maps(maps), worst + (push - push.detach()), loss)


def share_of(masks: Tensor) -> Tensor:
    """Divide each mask by its sum; an empty mask stays empty."""
    return masks / masks.sum((1, 2), keepdim=True).clamp(min=torch.finfo(masks.dtype).eps)
