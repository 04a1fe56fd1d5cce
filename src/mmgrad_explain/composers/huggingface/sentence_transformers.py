"""Folders of sentence-transformers: ``modules.json`` names the folder inside that holds the CLIP of transformers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.files import CONFIG
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MODULES_FILE = "modules.json"


def sentence_transformers_part(folder: Path) -> Path:
    """Find the folder inside that holds a CLIP; a folder that is not of sentence-transformers is returned itself.

    Args:
        folder: Of a model.

    Raises:
        InputError: If ``modules.json`` cannot be read, or the model is not a CLIP alone.
    """
    path = folder / MODULES_FILE
    if not path.is_file() or (folder / CONFIG).is_file():
        return folder
    try:
        modules: Any = json.loads(path.read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        paths = [str(module["path"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__} {error}") from error
    if kinds != ["CLIPModel"]:
        raise InputError(
            f"{folder} is a model of sentence-transformers with {', '.join(kinds) or 'no modules'}: of these a single "
            "CLIPModel can be explained, with a vision tower and a text tower"
        )
    part = folder / paths[0]
    if not part.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} names a folder outside its own: {paths[0]}")
    return part
