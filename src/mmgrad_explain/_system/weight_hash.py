"""Hash the weights of a model, to tell one model from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def update_by_weights(digest: Any, model: nn.Module) -> None:
    """Add every weight of a model to a hash: its name, type, shape and values, on whatever device.

    Args:
        digest: Of ``hashlib``.
        model: The model. Weights on the meta device, as accelerate leaves offloaded ones, count without their values.
    """
    import torch

    for name, weight in sorted(model.state_dict().items()):
        digest.update(f" {name} {weight.dtype} {tuple(weight.shape)} ".encode())
        if not weight.is_meta:
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
