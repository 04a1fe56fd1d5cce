"""How a folder of open_clip is told, and its config read; open_clip is not imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmgrad_explain._system.reading import read_json, reason_of
from mmgrad_explain.composers.files import CONFIG, check_sizes, read_config
from mmgrad_explain.composers.generative.families import FAMILIES as GENERATIVE
from mmgrad_explain.composers.huggingface.families import FAMILIES
from mmgrad_explain.errors import InputError

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
)  # fmt: skip
"""Where open_clip's folders have their weights, in the order they are looked for."""

PREFIXES = ("hf-hub:", "local-dir:")
"""How open_clip's users write that a hub id or a folder holds a model of open_clip."""


def is_open_clip(folder: Path, *, preferred: bool = False) -> bool:
    """Whether a folder is to be read as a model of open_clip.

    Where there is a config of a whole model of transformers too, that is taken, unless open_clip's is ``preferred``.
    The config of a text tower beside it belongs to open_clip's model.
    """
    if not (folder / CONFIG_FILE).is_file():
        return False
    if preferred or not (folder / CONFIG).is_file():
        return True
    kind = read_config(folder).get("model_type")
    return kind is None or kind == text_tower_of(folder)


def text_tower_of(folder: Path) -> str | None:
    """The ``model_type`` of the text tower whose transformers config lies in the folder; None if there is none."""
    if not (folder / CONFIG).is_file():
        return None
    text = read_open_clip_config(folder)["model_cfg"].get("text_cfg")
    kind = read_config(folder).get("model_type")
    whole = {*FAMILIES, *GENERATIVE, "vision-text-dual-encoder"}
    return str(kind) if isinstance(text, dict) and text.get("hf_model_name") and kind not in whole else None


def local_source(name: str, folder: Path) -> Path | None:
    """The folder that a name in a model's config means, from where one is or from the model's; None for a hub id."""
    return next((one for one in (Path(name).expanduser(), folder / name) if one.is_dir()), None)


def read_open_clip_config(folder: Path) -> dict[str, Any]:
    """The folder's ``open_clip_config.json``.

    Raises:
        InputError: If it is missing, cannot be read, or describes no model.
    """
    path = folder / CONFIG_FILE
    try:
        config = read_json(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise InputError(f"{path} describes no model: it has no model_cfg")
    check_sizes(config, str(path))
    return config
