"""Read and write a model folder. Weights only: no code in a folder is ever run."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
        except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
            message = f"{pickled} was not loaded: it is damaged or holds more than weights, and code is never run"
            raise InputError(f"{message}. Save the model as {SAFETENSORS}") from error
        if isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values()):
            return weights
        raise InputError(f"{pickled} holds no plain state dict. Save the model as {SAFETENSORS}")
    raise InputError(f"{folder} has no weights: expected {SAFETENSORS} (or {TORCH_WEIGHTS})")


def read_own_config(folder: Path, model_type: str) -> dict[str, Any]:
    """The ``config.json`` of one of this package's models.

    Raises:
        InputError: If there is none, or it is that of another kind of model.
    """
    config = read_config(folder)
    if config.get("model_type") != model_type:
        raise InputError(f"{folder} holds a {config.get('model_type')!r} model, not a {model_type!r} one")
    return config


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Build a model of a folder's config inside the block; what goes wrong there becomes an InputError."""
    try:
        yield
    except (TypeError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the weights in {folder} do not fit its config.json: {reason}") from error


def write_model(
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    names: tuple[str, str] = (CONFIG, SAFETENSORS),
) -> None:
    """Write a model's config and weights into a folder, made if needed.

    Args:
        folder: Where to.
        config: What is no JSON in it is written as text.
        weights: A state dict, on any device.
        names: Of the two files.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    (folder / names[1]).write_bytes(save(whole, {"format": "pt"}))  # save_file lets nobody else read it
