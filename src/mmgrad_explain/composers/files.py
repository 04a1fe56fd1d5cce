"""Read a model folder. Weights only: no code in a folder is ever run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

CONFIG = "config.json"
SAFETENSORS, TORCH_WEIGHTS = "model.safetensors", "pytorch_model.bin"


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        InputError: If the folder, or the file in it, is missing or is no JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder} is not a model folder: it has no {CONFIG} (expected {CONFIG} and {SAFETENSORS})")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a JSON object: this is not a model's config")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The folder's weights, from safetensors or else from a weights-only torch file.

    Raises:
        InputError: If there are none, or they are damaged, or the torch file holds more than weights.
    """
    safe, pickled = folder / SAFETENSORS, folder / TORCH_WEIGHTS
    if safe.is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(safe)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{safe} is damaged: {error}") from error
    if pickled.is_file():
        import pickle

        import torch

        try:
            weights = torch.load(pickled, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            message = f"{pickled} was not loaded: it is damaged or holds more than weights, and code is never run"
            raise InputError(f"{message}. Save the model as {SAFETENSORS}") from error
        if isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values()):
            return weights
        raise InputError(f"{pickled} holds no plain state dict. Save the model as {SAFETENSORS}")
    raise InputError(f"{folder} has no weights: expected {SAFETENSORS} (or {TORCH_WEIGHTS})")
