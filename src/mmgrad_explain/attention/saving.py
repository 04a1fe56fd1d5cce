"""Write a folder all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

MANIFEST = "manifest.json"


def save_folder(folder: str | os.PathLike[str], write: Callable[[Path], None], *, overwrite: bool = False) -> Path:
    """Have an explanation written into a new folder.

    Args:
        folder: Where; the folders above it must exist.
        write: Writes the files into the folder it is given.
        overwrite: Replace an explanation that was saved there; until the new one is complete the old one stays.

    Returns:
        The folder.

    Raises:
        OutputExistsError: something is there and ``overwrite`` is off, or it is not a saved explanation.
        InputError: the folder cannot be written.
    """
    goal = Path(folder)
    _refuse_existing(goal, overwrite=overwrite)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror})") from error
    try:
        write(work)
        work.chmod(0o755)
        _put(work, goal)
    except OSError as error:
        raise InputError(f"folder: {goal} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return goal


def _refuse_existing(goal: Path, *, overwrite: bool) -> None:
    if not goal.exists() and not goal.is_symlink():
        return
    if not overwrite:
        raise OutputExistsError(f"folder: {goal} exists; choose another one or pass overwrite=True")
    if not (goal / MANIFEST).is_file() and not (goal.is_dir() and not any(goal.iterdir())):
        raise OutputExistsError(f"folder: {goal} holds something else than a saved explanation and is not replaced")


def _put(work: Path, goal: Path) -> None:
    """Move a finished folder to its place; what is there makes way only then, and comes back should that fail."""
    if not goal.exists():
        work.replace(goal)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{goal.name}-old-", dir=goal.parent)) / goal.name
    goal.replace(aside)
    try:
        work.replace(goal)
    except OSError:
        aside.replace(goal)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)
