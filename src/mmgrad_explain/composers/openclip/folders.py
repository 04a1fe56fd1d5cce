"""Recognise a folder of open_clip and read its config; open_clip is not imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmgrad_explain._system.user_files import read_json, reason_of
from mmgrad_explain.composers.files import CONFIG, check_sizes, read_config
from mmgrad_explain.composers.model_types import is_image_text_model
from mmgrad_explain.errors import InputError

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
)  # fmt: skip
"""The files of weights in open_clip's folders; the first that exists is read."""

PREFIXES = ("hf-hub:", "local-dir:")
"""Prefixes by which open_clip's users say that a hub id or a folder holds a model of open_clip."""


def is_open_clip(folder: Path, *, preferred: bool = False) -> bool:
    """Return whether a folder is read as a model of open_clip.

    If the folder also has the config of a whole model of transformers, that model is taken, unless open_clip's is
    ``preferred``. The config of a text tower alone belongs to open_clip's model.
    """
    if not (folder / CONFIG_FILE).is_file():
        return False
    if preferred or not (folder / CONFIG).is_file():
        return True
    kind = read_config(folder).get("model_type")
    return kind is None or kind == text_tower_of(folder)


def text_tower_of(folder: Path) -> str | None:
    """Get the ``model_type`` of the text tower of transformers whose config is in the folder; None if there is none."""
    if not (folder / CONFIG).is_file():
        return None
    text = read_open_clip_config(folder)["model_cfg"].get("text_cfg")
    kind = str(read_config(folder).get("model_type"))
    return kind if isinstance(text, dict) and text.get("hf_model_name") and not is_image_text_model(kind) else None


def local_source(name: str, folder: Path) -> Path | None:
    """Find the folder that a name in a model's config means.

    Args:
        name: A path from the working directory or from ``folder``, or a hub id.
        folder: Of the model.

    Returns:
        The folder, or None for a hub id.
    """
    return next((path for path in (Path(name).expanduser(), folder / name) if path.is_dir()), None)


def read_open_clip_config(folder: Path) -> dict[str, Any]:
    """Read the folder's ``open_clip_config.json``.

    Raises:
        InputError: It is missing, cannot be read, or describes no model.
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
