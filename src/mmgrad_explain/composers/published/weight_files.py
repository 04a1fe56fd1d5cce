"""Read files of weights that others wrote with torch: weights only, no code in them is ever run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain._system.user_files import quote
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SHOWN = 4
_WRAPPERS = ("module.", "_orig_mod.")
_INNER = ("state_dict", "model", "module")
_DEEPEST = 4
KNOWN_PARTS = {
    "CLIP": "a fine-tuned CLIP, which is given as the tower",
    "Combiner": "the combiner of CLIP4Cir",
    "Phi": "the network of SEARLE or LinCIR",
    "state_dict_img2text": "the network of Pic2Word",
    "Blip2QformerCirAlignPrompt": "SPRC",
}
"""What published files hold, by the name in the file."""


def read_weight_file(file: str | Path) -> dict[str, Any]:
    """Read a file of torch or of safetensors, without running code from it.

    Returns:
        What it holds: tensors by name, or several such dicts, and numbers.

    Raises:
        InputError: It is missing or damaged, holds more than weights, or no dict.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is no file: give the file of weights as it was published")
    if path.suffix != ".safetensors" and _is_torchscript(path):
        raise InputError(
            f"{path} is a TorchScript archive, as OpenAI's own files of CLIP are, and holds code: take the same model "
            "by its hub id, such as openai/clip-vit-large-patch14"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors raise all sorts of things
        raise InputError(
            f"{path} was not loaded: it is damaged, or it holds more than weights, such as a whole model, and code is "
            "never run. Where you trust it, load it by its authors' code and save its state dict alone: "
            "torch.save(model.state_dict(), file)"
        ) from error
    if not isinstance(held, dict):
        raise InputError(f"{path} holds a {type(held).__name__}, no dict of weights")
    return held


def _is_torchscript(path: Path) -> bool:
    """Return whether a file is an archive of torch.jit; those of torch.save hold no constants."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())


def weights_in(held: Mapping[str, Any], names: Sequence[str], file: str | Path) -> dict[str, Tensor]:
    """Find a model's weights in what a file holds, in float32.

    Args:
        held: The file's content.
        names: Keys under which they may be, the first that is there is taken; without one the content itself is. Where
            that holds no weights but another dict of a state, they are looked for in there.
        file: Where it is from, for messages.

    Raises:
        InputError: There are none.
    """
    part: Any = _inside(held, names) or held
    for _ in range(_DEEPEST):
        if any(isinstance(value, Tensor) for value in part.values()) or part is held:
            break
        part = _inside(part, (*names, *_INNER)) or {}
    weights = {_plain(str(name)): value for name, value in part.items() if isinstance(value, Tensor)}
    if not weights:
        known = [f"{quote(name)} is {what}" for name, what in KNOWN_PARTS.items() if name in held]
        keys = ", ".join(quote(name) for name in list(held)[:8]) or "nothing"
        raise InputError(
            f"{file} holds no weights under {', '.join(names)}: it has {keys}{''.join(f'; {one}' for one in known)}"
        )
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def _inside(held: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """Return the first dict under one of the names; None if there is none."""
    return next((held[name] for name in names if isinstance(held.get(name), dict)), None)


def rename(
    weights: Mapping[str, Tensor], names: Mapping[str, str], what: str, file: str | Path, others: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Give weights their names in this package.

    Args:
        weights: As they were read.
        names: From the published name of each weight, without ``.weight`` and ``.bias``, to the name here.
        what: Whose weights they are, for messages.
        file: Where they are from, for messages.
        others: Beginnings of names that the file may have too, and that are left out.

    Raises:
        InputError: A weight is missing, or there is one too many.
    """
    wanted = {f"{old}.{part}": f"{new}.{part}" for old, new in names.items() for part in ("weight", "bias")}
    missing = [name for name in wanted if name not in weights]
    if missing:
        near = did_you_mean(missing[0], weights)
        raise InputError(f"{file} is no {what}: {list_some(missing)} missing{f'; {near.strip()}' if near else ''}")
    extra = [name for name in weights if name not in wanted and not name.startswith(tuple(others))]
    if extra:
        raise InputError(f"{file} is no {what}: it has {list_some(extra)}, which such a network does not have")
    for name in wanted:
        if weights[name].ndim != (2 if name.endswith(".weight") else 1):
            shape = " x ".join(map(str, weights[name].shape)) or "one number"
            raise InputError(f"{file} is no {what}: {name} is {shape}, and belongs to a linear layer")
    return {new: weights[old] for old, new in wanted.items()}


def check_shapes(weights: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]], what: str) -> None:
    """Check the shapes of weights.

    Raises:
        InputError: One has another shape than it should.
    """
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != tuple(shape):
            found, wanted = (" x ".join(map(str, one)) for one in (weights[name].shape, shape))
            raise InputError(f"{what}: {name} is {found}, and with its other weights it must be {wanted}")


def _plain(name: str) -> str:
    """Remove the beginnings that wrappers for distributed and compiled models put before a name."""
    start = next((one for one in _WRAPPERS if name.startswith(one)), "")
    return _plain(name.removeprefix(start)) if start else name


def list_some(names: Sequence[str]) -> str:
    """List the first names, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
