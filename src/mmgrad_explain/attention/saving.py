"""Write a folder all or nothing."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.writing import behind_links, put_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

MANIFEST = "manifest.json"
FORMAT = "mmgrad_explain.explanation/1"
_OWN = re.compile(r"manifest\.json|maps\.npz|overlay_\d{4,}\.png")


def save_folder(folder: str | os.PathLike[str], write: Callable[[Path], None], *, overwrite: bool = False) -> Path:
    """Have an explanation written into a new folder.

    Args:
        folder: Where; the folders above it must exist.
        write: Writes the files into the folder it is given.
        overwrite: Replace an explanation that was saved there; until the new one is complete the old one stays.

    Returns:
        The folder.

    Raises:
        OutputExistsError: something is there and ``overwrite`` is off, or it is, or holds, something else than a saved
            explanation.
        InputError: the folder cannot be written.
    """
    _refuse_existing(Path(folder), overwrite=overwrite)
    goal = behind_links(Path(folder))
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror})") from error
    try:
        write(work)
        work.chmod(0o755)
        put_folder(work, goal)
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Path(folder)


def _refuse_existing(goal: Path, *, overwrite: bool) -> None:
    if not goal.exists() and not goal.is_symlink():
        return
    if not overwrite:
        raise OutputExistsError(f"folder: {goal} exists; choose another one or pass overwrite=True")
    other = _what_else(goal)
    if other is not None:
        raise OutputExistsError(
            f"folder: {goal} holds something else than a saved explanation and is not replaced{other}"
        )


def _what_else(goal: Path) -> str | None:
    """Of a folder that is no saved explanation what it holds; None of one that is, or is empty."""
    if not goal.is_dir():
        return ""
    names = sorted(path.name for path in goal.iterdir())
    if not names:
        return None
    try:
        manifest = json.loads((goal / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return ""
    return next((f": {name}" for name in names if not (_OWN.fullmatch(name) and (goal / name).is_file())), None)
