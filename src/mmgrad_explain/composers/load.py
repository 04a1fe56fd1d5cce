"""Load a composer by a name, a folder or a hub id."""

from __future__ import annotations

import os
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.errors import HubUnreachableError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from mmgrad_explain.attention.calibration.result import Calibration
    from mmgrad_explain.composers.base import Composer

BUNDLED = ("reference", "clothing", "everyday")
"""Names of the models that ship with the package."""

CALIBRATION_FILE = "calibration.json"
"""The file in a model's folder that its calibration is read from."""

CHOICES = f"{', '.join(BUNDLED)}, a model folder, or a hub id owner/name"
"""How a model can be named, for messages."""

_HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_HUB_WEIGHTS = [
    "model*.safetensors", "tower/*.safetensors", "familiarity.safetensors", "pytorch_model.bin",
    "adapter_model.safetensors", "adapter_model.bin", "0_CLIPModel/model*.safetensors", "0_CLIPModel/pytorch_model.bin",
]  # fmt: skip


def load_composer(model: str | Path | nn.Module, processor: Any = None, *, local_files_only: bool = False) -> Composer:
    """Load a composer, or make one from a model in memory.

    Args:
        model: A bundled name (:data:`BUNDLED`), a local folder, or a hub id ``owner/name``, tried in this order: a
            folder that exists is never looked for on the hub. If a model of transformers and one of open_clip have the
            same name, the first is taken; ``hf-hub:owner/name`` and ``local-dir:folder``, the notation of open_clip,
            mean the second. Or a model of transformers or open_clip in memory, also compiled, distributed or with
            PEFT's adapters; it keeps its mode and device. A composer is returned as it is.
        processor: For a model in memory. For transformers: its processor, or (image processor, tokenizer). For
            open_clip: (evaluation transform, tokenizer). In any order.
        local_files_only: Look for a hub id only in the local cache.

    Returns:
        The composer; one that was read from a folder is on the CPU, in eval mode.

    Raises:
        TypeError: ``model`` is none of these.
        InputError: There is no such model, it cannot be fetched, or it is of a kind that is not supported.
        HubUnreachableError: An InputError too: the hub cannot be reached, and the model is not in the local cache.
    """
    from mmgrad_explain.composers.openclip.folders import PREFIXES

    if not isinstance(model, str | os.PathLike):
        from mmgrad_explain.composers.in_memory import wrap_model

        return wrap_model(model, processor)
    if processor is not None:
        raise InputError(f"processor: {os.fspath(model)!r} is loaded with its own: leave it out, or hand in the model")
    text = os.fspath(model)
    if text in BUNDLED:
        return _from_folder(_bundled_folder(text), text)
    prefix = next((one for one in PREFIXES if text.startswith(one)), "")
    text = text.removeprefix(prefix)
    folder = Path(text).expanduser()
    if folder.is_dir() and prefix != "hf-hub:":
        return _from_folder(folder, folder.name, open_clip=bool(prefix), local_files_only=local_files_only)
    if folder.exists():
        raise InputError(f"{text} is a file, not a model folder: give the folder that holds config.json")
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        fetched = _fetch_model(text, open_clip=bool(prefix), local_files_only=local_files_only)
        return _from_folder(fetched, text, open_clip=bool(prefix), local_files_only=local_files_only)
    hint = did_you_mean(text, BUNDLED)
    names = ", ".join(BUNDLED)
    raise InputError(f"no model {text!r}: {hint}give a bundled name ({names}), a folder, or a hub id owner/name")


def _bundled_folder(name: str) -> Path:
    return Path(str(resources.files("mmgrad_explain") / "weights" / name))


def _fetch_model(hub_id: str, *, open_clip: bool, local_files_only: bool) -> Path:
    """Fetch a hub model and return its local folder, with the weights of the one model that is wanted."""
    from mmgrad_explain.composers.openclip.folders import WEIGHT_FILES, is_open_clip

    instead = "give a bundled name or a local folder"
    folder = fetch(hub_id, _HUB_FILES, instead, local_files_only=local_files_only)
    if not is_open_clip(folder, preferred=open_clip):
        return fetch(hub_id, [*_HUB_FILES, *_HUB_WEIGHTS], instead, local_files_only=local_files_only)
    for file in WEIGHT_FILES:
        folder = fetch(hub_id, [*_HUB_FILES, file], instead, local_files_only=local_files_only)
        if (folder / file).is_file():
            break
    return folder


def _from_folder(folder: Path, name: str, *, open_clip: bool = False, local_files_only: bool = False) -> Composer:
    from mmgrad_explain.composers.files import read_default_method

    with reading(f"the model in {folder} cannot be loaded"):  # transformers, timm and others raise all sorts of things
        composer = _read(folder, name, open_clip=open_clip, local_files_only=local_files_only)
        _try(composer)
        method = read_default_method(folder)
        if method is not None:
            composer.default_method = method
        if (folder / CALIBRATION_FILE).is_file():
            composer.calibration = _read_calibration(folder / CALIBRATION_FILE, composer)
    return composer


def _read_calibration(file: Path, composer: Composer) -> Calibration:
    """Read the calibration in a model's folder.

    Raises:
        InputError: It is none of this model, with these weights; nobody named the file, so that the message does.
    """
    from mmgrad_explain.attention.calibration.result import Calibration

    try:
        return Calibration.load(file, composer)
    except InputError as error:
        raise InputError(f"{error} ({file} is in the model's folder: delete it to load the model without)") from None


def _try(composer: Composer) -> None:
    """Prepare an image and a text, so that unusable settings of a processor are found here.

    Raises:
        InputError: The pixels are not finite numbers.
    """
    import torch
    from PIL import Image

    image, text = Image.new("RGB", (32, 32)), "a"
    if composer.answers_in_words:  # preprocess would have the model answer
        composer.processor.make_prompts([image], [text])
        return
    tensors = composer.preprocess([image], [text]).tensors.values()
    if not all(torch.isfinite(one).all() for one in tensors if one.is_floating_point()):
        raise InputError(
            f"{composer.name} turns images into values that are not finite: check mean and std of its preprocessing"
        )


def _read(folder: Path, name: str, *, open_clip: bool, local_files_only: bool) -> Composer:
    from mmgrad_explain.composers.files import read_config
    from mmgrad_explain.composers.huggingface.sentence_transformers import sentence_transformers_part
    from mmgrad_explain.composers.model_types import OPEN_CLIP, composer_class
    from mmgrad_explain.composers.openclip.folders import is_open_clip
    from mmgrad_explain.composers.peft_folders import CONFIG_FILE, load_adapted

    if (folder / CONFIG_FILE).is_file():
        return load_adapted(folder, name, partial(load_composer, local_files_only=local_files_only))
    folder = sentence_transformers_part(folder)
    kind = OPEN_CLIP if is_open_clip(folder, preferred=open_clip) else str(read_config(folder).get("model_type"))
    composer: Composer = composer_class(kind).from_pretrained(folder, name)
    return composer


def fetch(hub_id: str, files: Sequence[str], instead: str, *, local_files_only: bool = False) -> Path:
    """Return the local folder of a hub model; downloads it if it is not there yet.

    Args:
        hub_id: ``owner/name``.
        files: Patterns of the files to get.
        instead: What the message recommends if the hub cannot be reached.
        local_files_only: Look only in the local cache.

    Raises:
        HubUnreachableError: The hub cannot be reached, and the model is not in the local cache.
        InputError: The model cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(files), local_files_only=local_files_only))
    except LocalEntryNotFoundError as error:
        message = f"the model hub cannot be reached for {hub_id!r}, and the model is not in the local cache"
        raise HubUnreachableError(f"{message}: check the network, or {instead}") from error
    except HfHubHTTPError as error:
        raise InputError(f"the model hub does not give {hub_id!r}: {str(error).splitlines()[0]}") from error
    except (HFValidationError, OSError, ValueError) as error:
        raise InputError(f"{hub_id!r} cannot be fetched from the model hub: {str(error).splitlines()[0]}") from error
