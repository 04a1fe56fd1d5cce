"""Figures in float64, wherever the tensors are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def exact(values: Tensor) -> Tensor:
    """``values`` in float64; on the CPU where their device, Apple's, has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()
