"""Stand-ins: small random models in place of downloaded ones, to try and test code without a model hub.

A stand-in has the parts, files, image size and grid of a real model, but is narrow, shallow and untrained. Code that
runs on it runs on the real model; its maps mean nothing. Nothing is downloaded.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.stand_ins.models import KINDS, write_model_folder
from mmgrad_explain.errors import HubUnreachableError, InputError, MMGradWarning, OutputExistsError, did_you_mean

if TYPE_CHECKING:
    import os

    from mmgrad_explain.composers.base import Composer

HUB_PATIENCE = 5.0
"""How long :func:`from_hub_or_stand_in` waits for the hub, in seconds."""


def stand_in(kind: str, folder: str | os.PathLike[str]) -> Path:
    """Write a small random model as a complete model folder, all or nothing.

    The folder has config, weights, tokenizer and processor, for transformers and
    :func:`~mmgrad_explain.composers.load.load_composer`. The same kind always has the same weights. The tokenizer knows
    some everyday words and spells all others, so that no text has unknown parts.

    Args:
        kind: One of :data:`~mmgrad_explain.composers.stand_ins.models.KINDS`: ``"clip"`` (224 x 224 pixels in patches
            of 32), ``"siglip"`` (224, 16), ``"blip"`` with its image-text matching head (384, 16), ``"llava"``, which
            answers in words (336, 14).
        folder: To write into. It must not exist, or be empty; folders above it are made.

    Returns:
        The folder.

    Raises:
        InputError: If there is no such kind, or the folder cannot be written.
        OutputExistsError: If the folder is not empty, or is a file.
    """
    _check_kind(kind)
    target = Path(folder)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise OutputExistsError(f"folder: {target} is there already: choose another one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
            written = Path(work) / target.name
            write_model_folder(kind, written)
            if target.is_dir():
                target.rmdir()
            written.replace(target)
    except OSError as error:
        raise InputError(f"folder: {target} cannot be written ({error.strerror or error})") from error
    return target


def from_hub_or_stand_in(hub_id: str, kind: str | None = None) -> Composer:
    """Load a model of the hub; without the hub and a local copy, load a stand-in for it.

    A warning, the stand-in's ``name`` and the notes of every explanation say that it is one. The function waits
    :data:`HUB_PATIENCE` seconds for the hub.

    Args:
        hub_id: ``owner/name``.
        kind: One of :data:`~mmgrad_explain.composers.stand_ins.models.KINDS`, if the id does not contain it.

    Returns:
        The composer, as from :func:`~mmgrad_explain.composers.load.load_composer`.

    Raises:
        InputError: If the model cannot be loaded, the hub refuses it, or a stand-in is needed and the id does not
            contain its kind.
    """
    if kind is not None:
        _check_kind(kind)
    try:
        return load_composer(hub_id, local_files_only=not _hub_answers(hub_id))
    except HubUnreachableError as error:
        kind = kind or _kind_in(hub_id)
        if kind is None:
            raise InputError(
                f"{error}; its id does not contain the kind of a stand-in: give kind= ({', '.join(KINDS)})"
            ) from error
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        composer = load_composer(stand_in(kind, Path(folder) / kind))
    composer.name = f"stand-in for {hub_id} (random weights: its maps mean nothing)"
    composer.caution = f"this is no trained model but a {composer.name}"
    warnings.warn(
        f"the model hub cannot be reached for {hub_id!r}: a small model with random weights stands in for it, and its "
        "maps mean nothing",
        MMGradWarning,
        stacklevel=2,
    )
    return composer


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"kind: no stand-in of kind {kind!r}: {did_you_mean(kind, KINDS)}there are {', '.join(KINDS)}")


def _kind_in(hub_id: str) -> str | None:
    """Find the kind in an id; SigLIP 2 of a fixed resolution is a SigLIP."""
    words = [word.replace("siglip2", "siglip") for word in re.split(r"[^a-z0-9]+", hub_id.rpartition("/")[2].lower())]
    return next((kind for kind in KINDS if kind in words), None)


def _hub_answers(hub_id: str) -> bool:
    """Return whether the hub answers about a model in time; loading it would wait for the network without end."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(hub_id, timeout=HUB_PATIENCE)
    except (HfHubHTTPError, HFValidationError):
        return True  # loading the model raises the error
    except Exception:  # noqa: BLE001  (each release of the hub's library has a network library with errors of its own)
        return False
    return True
