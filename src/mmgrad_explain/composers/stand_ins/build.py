"""Small random models in the place of downloaded ones: to try code where no model hub can be reached, and to test it.

A stand-in has the parts, the files, the picture size and the grid of a real model, but is narrow, shallow and
untrained: what runs on it runs on the real one, and its maps mean nothing. Nothing is downloaded.
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
"""How long :func:`from_hub_or_stand_in` waits for a word of the hub, in seconds."""


def stand_in(kind: str, folder: str | os.PathLike[str]) -> Path:
    """Write a small random model as a complete model folder, all or nothing.

    The folder has config, weights, tokenizer and processor, as transformers and
    :func:`~mmgrad_explain.composers.load.load_composer` take it. The same kind always gets the same weights. The
    tokenizer knows some everyday words and spells all others, so that no text has unknown parts.

    Args:
        kind: One of :data:`~mmgrad_explain.composers.stand_ins.models.KINDS`: ``"clip"`` (224 x 224 pixels in patches
            of 32), ``"siglip"`` (224, 16), ``"blip"`` with its image-text matching head (384, 16), ``"llava"``, which
            answers in words (336, 14).
        folder: Where to. It must not be there, or be empty; folders above it are made.

    Returns:
        The folder.

    Raises:
        InputError: If there is no such kind, or the folder cannot be written.
        OutputExistsError: If the folder holds something, or is a file.
    """
    _check_kind(kind)
    goal = Path(folder)
    if goal.exists() and not (goal.is_dir() and not any(goal.iterdir())):
        raise OutputExistsError(f"folder: {goal} is there already: choose another one")
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{goal.name}-", dir=goal.parent) as work:
            made = Path(work) / goal.name
            write_model_folder(kind, made)
            if goal.is_dir():
                goal.rmdir()
            made.replace(goal)
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror or error})") from error
    return goal


def from_hub_or_stand_in(hub_id: str, kind: str | None = None) -> Composer:
    """A model of the hub; where the hub cannot be reached and the model is not in the local cache, a stand-in for it.

    A stand-in says so: a warning is given, its ``name`` says it, and so do the notes of every explanation of it. The
    hub is waited for :data:`HUB_PATIENCE` seconds.

    Args:
        hub_id: ``owner/name``.
        kind: One of :data:`~mmgrad_explain.composers.stand_ins.models.KINDS`, where the id does not say it.

    Returns:
        The composer, as of :func:`~mmgrad_explain.composers.load.load_composer`.

    Raises:
        InputError: If the model can be had but cannot be loaded, the hub says no, or a stand-in is needed and the id
            does not say of which kind.
    """
    if kind is not None:
        _check_kind(kind)
    try:
        return load_composer(hub_id, local_files_only=not _hub_answers(hub_id))
    except HubUnreachableError as error:
        kind = kind or _kind_in(hub_id)
        if kind is None:
            raise InputError(
                f"{error}; its id does not say what could stand in for it: give kind= ({', '.join(KINDS)})"
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
    """The kind that an id speaks of; SigLIP 2 of a fixed resolution is a SigLIP."""
    words = [word.replace("siglip2", "siglip") for word in re.split(r"[^a-z0-9]+", hub_id.rpartition("/")[2].lower())]
    return next((kind for kind in KINDS if kind in words), None)


def _hub_answers(hub_id: str) -> bool:
    """Whether the hub says anything about a model in time; loading it would wait for the network without end."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(hub_id, timeout=HUB_PATIENCE)
    except (HfHubHTTPError, HFValidationError):
        return True  # what is wrong is said where the model is loaded
    except Exception:  # noqa: BLE001  (each release of the hub's library has a network library with errors of its own)
        return False
    return True
