"""What all grounding losses share: precision, checks, scales that are held constant, and maps that are dead."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def full(value: Tensor) -> Tensor:
    """``value`` in float32; float64 stays as it is."""
    return value if value.dtype == torch.float64 else value.float()


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Have a loss computed in float32 (float64 for float64), whatever autocast or the maps' own dtype say."""

    @functools.wraps(loss)
    def computed(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        maps = args[0]
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            kind = str(maps.dtype) if isinstance(maps, Tensor) else type(maps).__name__
            raise TypeError(f"maps must be a floating tensor (B, h, w), not {kind}")
        with torch.autocast(maps.device.type, enabled=False):
            return loss(full(maps), *args[1:], **kwargs)  # type: ignore[arg-type]

    return computed


def check_pair(maps: Tensor, masks: Tensor, names: str = "maps and masks") -> Tensor:
    """The masks in the maps' dtype, on their device; InputError unless both are ``(B, h, w)``."""
    if maps.dim() != 3 or maps.shape != masks.shape:
        raise InputError(
            f"{names} must both be (B, h, w), got {tuple(maps.shape)} and {tuple(masks.shape)}: "
            "grounding_targets() lays any mask on a map's grid"
        )
    return masks.to(maps)


def floor_of(maps: Tensor) -> float:
    """The scale below which a map of this dtype holds nothing: dividing by it would overflow."""
    return float(torch.finfo(maps.dtype).tiny ** 0.5)


def peak_of(maps: Tensor) -> Tensor:
    """Each map's maximum, ``(B, 1, 1)``, held constant; 1 where there is nothing to divide by."""
    peak = maps.detach().amax((1, 2), keepdim=True)
    return torch.where(peak > floor_of(maps), peak, torch.ones_like(peak))


def reach_of(maps: Tensor) -> Tensor:
    """Each map's largest magnitude, ``(B, 1, 1)``, held constant; 1 where there is nothing to divide by."""
    return peak_of(maps.abs())


def spread_of(maps: Tensor, *, centred: bool) -> tuple[Tensor, Tensor]:
    """Each map's centre and spread, ``(B, 1, 1)`` each, held constant.

    Args:
        maps: ``(B, h, w)``, signed.
        centred: Mean and standard deviation; else 0 and the root mean square. A spread of nothing is given as 1.
    """
    still = maps.detach()
    centre = still.mean((1, 2), keepdim=True)
    if not centred:
        centre = torch.zeros_like(centre)
    largest = reach_of(still - centre)  # so that squares neither overflow nor vanish
    spread = largest * ((still - centre) / largest).square().mean((1, 2), keepdim=True).sqrt()
    return centre, torch.where(spread > floor_of(maps), spread, torch.ones_like(spread))


def rectified(maps: Tensor) -> Tensor:
    """Each map without its negative part, divided by its maximum held constant: ``(B, h, w)`` in [0, 1]."""
    bright = maps.relu()
    return bright / peak_of(bright)


def dead_maps(maps: Tensor) -> Tensor:
    """Which maps show nothing: no place of the rectified map is brighter than another.

    Flat to within the rounding of the dtype counts as flat. A map with a NaN is not dead: its loss is NaN.

    Args:
        maps: ``(B, h, w)``, signed or not.

    Returns:
        ``(B,)`` bool.
    """
    bright = full(maps.detach()).relu()
    peak, least = bright.amax((1, 2)), bright.amin((1, 2))
    slack = (peak * 4 * torch.finfo(bright.dtype).eps).clamp(min=floor_of(bright))
    return (peak - least) <= slack


def dead_is_worst(loss: Tensor, worst: Tensor | float, maps: Tensor, masks: Tensor) -> Tensor:
    """Give dead maps the worst value there is, and a gradient that revives them where there can be one.

    The gradient of a dead map is that of the loss plus that of ``-sum_x t(x) M(x) / rms(M)``, ``t = m / sum(m)``: it
    raises a signed map inside the mask. A map that is zero everywhere holds nothing to raise.

    Args:
        loss: ``(B,)``.
        worst: No live map has a higher loss: ``(B,)`` or a number.
        maps: ``(B, h, w)``, signed where the caller has it signed.
        masks: ``(B, h, w)``: where the map should lie.
    """
    _, spread = spread_of(maps, centred=False)
    lift = -(share_of(masks) * maps / spread).sum((1, 2))
    push = loss + lift
    return torch.where(dead_maps(maps), worst + (push - push.detach()), loss)


def share_of(masks: Tensor) -> Tensor:
    """Each mask divided by its sum; an empty mask stays empty."""
    return masks / masks.sum((1, 2), keepdim=True).clamp(min=torch.finfo(masks.dtype).eps)
