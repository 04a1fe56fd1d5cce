"""Read and write model folders. Only weights are read: no code in a folder is ever run."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain._system.user_files import quote, read_json, read_text, reading
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

_Processor = TypeVar("_Processor")
_Module = TypeVar("_Module", bound="nn.Module")

CONFIG = "config.json"
MAPS_FILE = "maps.json"
"""The file in a model's folder that names the method of its maps, where it is another one than that of its kind."""
SAFETENSORS, TORCH_WEIGHTS = "model.safetensors", "pytorch_model.bin"
PROCESSOR_CONFIG, TOKENIZER_FILE = "preprocessor_config.json", "tokenizer.json"
MOST_PARTS, LARGEST_SIZE = 1000, 2**26
_PARTS = re.compile(r"(layers?|depths?|blocks?|stages?|heads?|groups?)$")
_SIZE = re.compile(rf"{_PARTS.pattern}|(size|dims?|width|channels|positions|words|tokens|hidden|embd|inner)$")
_SPARE = 10_000_000  # elements that a module may allocate beside its weights, for example tables of positions
_MAKERS = frozenset({"empty", "zeros", "ones", "full", "rand", "randn"})


def read_config(folder: Path) -> dict[str, Any]:
    """Read a folder's ``config.json``.

    Raises:
        InputError: The folder, or the file in it, is missing or is no JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder} is not a model folder: it has no {CONFIG} (expected {CONFIG} and {SAFETENSORS})")
    config = read_json(path)
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a JSON object: this is not a model's config")
    check_sizes(config, str(path))
    return config


def check_sizes(value: Any, where: str, key: str = "") -> None:
    """Check the sizes in a config, before anything is built of that size.

    Args:
        value: The config, or a value in it.
        where: The file, for messages.
        key: The value's name in the config.

    Raises:
        InputError: A number of layers, heads and the like is above ``MOST_PARTS``, or a width, a vocabulary or
            another size above ``LARGEST_SIZE``.
    """
    if isinstance(value, dict):
        for name, one in value.items():
            check_sizes(one, where, str(name))
    elif isinstance(value, list):
        for one in value:
            check_sizes(one, where, key)
    elif isinstance(value, int) and _SIZE.search(key):
        most = MOST_PARTS if _PARTS.search(key) else LARGEST_SIZE
        if value > most:
            raise InputError(f"{where}: {key} is {quote(value)}, and no model has more than {most}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a folder's weights, from safetensors or else from a weights-only torch file.

    Raises:
        InputError: There are none, or they are damaged, or the torch file holds more than weights.
    """
    safe, pickled = folder / SAFETENSORS, folder / TORCH_WEIGHTS
    if safe.is_file():
        from safetensors.torch import load_file

        with reading(f"{safe} is damaged"):
            return load_file(safe)
    if pickled.is_file():
        import torch

        try:
            weights = torch.load(pickled, map_location="cpu", weights_only=True)
        except Exception as error:
            message = f"{pickled} was not loaded: it is damaged or holds more than weights, and code is never run"
            raise InputError(f"{message}. Save the model as {SAFETENSORS}") from error
        if isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values()):
            return weights
        raise InputError(f"{pickled} holds no plain state dict. Save the model as {SAFETENSORS}")
    raise InputError(f"{folder} has no weights: expected {SAFETENSORS} (or {TORCH_WEIGHTS})")


def read_own_model(
    folder: Path, model_type: str, *, safetensors_only: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the config and the weights of one of this package's models.

    Args:
        folder: Of the model.
        model_type: The ``model_type`` that its config must have.
        safetensors_only: Whether a torch file of weights is refused.

    Raises:
        InputError: A file is missing or damaged, or the folder holds another kind of model.
    """
    config = read_config(folder)
    if config.get("model_type") != model_type:
        raise InputError(f"{folder} holds a {config.get('model_type')!r} model, not a {model_type!r} one")
    if safetensors_only and not (folder / SAFETENSORS).is_file():
        raise InputError(f"{folder} has no {SAFETENSORS}")
    return config, read_weights(folder)


def read_processor(folder: Path, build: Callable[..., _Processor]) -> _Processor:
    """Read the processor of a folder that one of this package's models was saved to.

    Args:
        folder: The model's.
        build: Makes a processor from a tokenizer and from the options in the folder.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    from tokenizers import Tokenizer

    from mmgrad_explain.composers.base import check_image_side  # with torch, which this module does without

    with reading(f"{folder} holds no usable processor"):
        options: dict[str, Any] = read_json(folder / PROCESSOR_CONFIG)
        check_image_side(options.get("image_size", 1))
        text = read_text(folder / TOKENIZER_FILE)
        with reading(f"{folder / TOKENIZER_FILE} is not a tokenizer"):
            tokenizer = Tokenizer.from_str(text)
        options.pop("processor_class", None)
        return build(tokenizer, **options)


def write_default_method(folder: Path, method: str) -> None:
    """Write the name of the method of a model's maps into its folder."""
    (folder / MAPS_FILE).write_text(json.dumps({"method": method}) + "\n", encoding="utf-8")


def read_default_method(folder: Path) -> str | None:
    """Read what :func:`write_default_method` wrote; None if the folder has no such file.

    Raises:
        InputError: The file is damaged, or names no method.
    """
    from mmgrad_explain.attention.methods.named import METHODS  # with torch, which this module does without

    file = folder / MAPS_FILE
    if not file.is_file():
        return None
    found = read_json(file)
    method = found.get("method") if isinstance(found, dict) else None
    check_choice(f"{file}: method", method, METHODS)
    return str(method)


def fitting(folder: Path) -> AbstractContextManager[None]:
    """Turn any error inside the block, where a model is built from a folder's config, into an InputError."""
    return reading(f"the weights in {folder} do not fit its config.json")


def fill(build: Callable[[], _Module], weights: Mapping[str, Tensor]) -> _Module:
    """Build a module and load its weights; stop before a module is allocated that is much larger than its weights.

    Raises:
        RuntimeError: The module is far larger than its weights, or the weights do not fit it.
    """
    from torch.overrides import TorchFunctionMode

    left = _SPARE + 2 * sum(value.numel() for value in weights.values())

    class Bounded(TorchFunctionMode):
        """Count the elements of each tensor before it is allocated."""

        def __torch_function__(
            self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            nonlocal left
            if getattr(func, "__name__", "") in _MAKERS:
                size = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
                left -= math.prod(one for one in size if isinstance(one, int))
                if left < 0:
                    raise RuntimeError("the model is far larger than its weights")
            return func(*args, **(kwargs or {}))

    with Bounded():
        module = build()
    module.load_state_dict(weights)
    return module


def save_weights(model: nn.Module, folder: str | Path) -> None:
    """Write the weights of any module into a folder, made if needed; :func:`load_weights` reads them."""
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SAFETENSORS).write_bytes(save(_whole(model.state_dict()), {"format": "pt"}))


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Read into a module what :func:`save_weights` wrote.

    Raises:
        InputError: The folder has no weights, or they do not fit the module.
    """
    weights = read_weights(Path(folder))
    with reading(f"the weights in {folder} do not fit {type(model).__name__}"):
        model.load_state_dict(weights)


def write_model(
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    names: tuple[str, str] = (CONFIG, SAFETENSORS),
) -> None:
    """Write a model's config and weights into a folder, made if needed.

    Args:
        folder: The model folder.
        config: The config; values that are no JSON are written as text.
        weights: A state dict, on any device.
        names: Names of the two files.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")
    (folder / names[1]).write_bytes(save(_whole(weights), {"format": "pt"}))  # save_file lets nobody else read it


def _whole(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights to the CPU, each with memory of its own, as safetensors wants them."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
