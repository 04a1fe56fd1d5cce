"""Sums and means in float64, on whatever device the tensors are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def to_float64(values: Tensor) -> Tensor:
    """Convert values to float64; they move to the CPU where their device (Apple's) has no float64."""
    return (values.cpu() if values.device.type == "mps" else values).double()
