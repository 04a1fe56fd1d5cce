"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from mmgrad_explain.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_ADVICE = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EROFS: "write to another disk",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.ENOENT: "check its name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def advice_on(error: OSError) -> str:
    """What a user can do about an error of the system, ``"free some space, or write to another disk"``."""
    return _ADVICE.get(error.errno or 0, "check the place, or choose another")


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Find out, without writing anything, whether a file can be written. Folders on the way may be missing.

    Args:
        path: The file.
        overwrite: Whether it may be there already.

    Raises:
        OutputExistsError: If it is there and must not be overwritten.
        InputError: If it is a folder, or the folder it belongs in is no folder or cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is there already: choose another name or ask to overwrite")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write into {folder}")


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A stream whose content becomes ``path`` when the block ends well; missing folders are made.

    If the block raises, ``path`` stays as it was.

    Args:
        path: The file.
        overwrite: Replace it if it is there.

    Raises:
        OutputExistsError: If it is there and must not be overwritten.
        InputError: If it cannot be written.
    """
    check_writable(path, overwrite=overwrite)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}: {advice_on(error)}") from error
    finally:
        if temporary.exists():
            temporary.unlink()
