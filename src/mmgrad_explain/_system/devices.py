"""The device of a model, and devices by name."""

from __future__ import annotations

import torch
from torch import nn

from mmgrad_explain.errors import InputError


def device_of(model: nn.Module) -> torch.device:
    """Return the device for a model's inputs: that of its first weights that are not on the meta device, else the CPU.

    Weights that accelerate has offloaded are on the meta device; its hooks move the inputs to where a part runs.
    """
    devices = (parameter.device for parameter in model.parameters() if not parameter.is_meta)
    return next(devices, torch.device("cpu"))


def check_device(device: str | torch.device) -> torch.device:
    """Return the device of a name, and check that this machine has it.

    Raises:
        InputError: The name is unknown, or this machine has no such device.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device {str(device)!r} is unknown: use cpu, cuda, cuda:N or mps") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"device {str(device)!r} is not there: {count} CUDA devices found; use cpu")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("device 'mps' is not there: use cpu")
    if found.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device {str(device)!r} is not supported: use cpu, cuda, cuda:N or mps")
    return found
