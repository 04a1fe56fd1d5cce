"""Locks: one process at a time writes to a folder."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from mmgrad_explain._system.files import advice_on, check_writable
from mmgrad_explain.errors import InputError, UnlockedWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".mmgrad-explain.lock"
"""The file that is locked; it is in the folder while a process works there."""

_held: set[BinaryIO] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder while the block runs; the folder is made if needed.

    The system releases the lock when the process ends, however it ends. A folder that was made for the block and is
    empty after it is removed.

    Args:
        folder: Where the block writes.

    Raises:
        InputError: Another process or thread has locked it, or the folder cannot be written to.
    """
    check_writable(folder / LOCK, overwrite=True)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_locked(folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}: {advice_on(error)}") from error
    _held.add(file)
    try:
        yield
    finally:
        _held.discard(file)
        with suppress(OSError):
            (folder / LOCK).unlink()  # while it is held: whoever waits for it sees that it is gone
        file.close()
        for each in made:
            with suppress(OSError):  # it is not empty
                each.rmdir()


def _open_locked(folder: Path) -> BinaryIO:
    path = folder / LOCK
    while True:
        file = path.open("ab")
        try:
            _lock(file)
        except BlockingIOError:
            file.close()
            raise InputError(
                f"{folder} is in use by another process: wait until it is done, or choose another folder"
            ) from None
        except (OSError, ImportError) as error:
            warnings.warn(
                f"{folder} cannot be locked on this system ({error}): see to it that no other process writes there",
                UnlockedWarning,
                stacklevel=4,
            )
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # it was removed between opening and locking


def _lock(file: BinaryIO) -> None:
    import fcntl  # there is none on Windows

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _close_held() -> None:
    """Close the files in a forked process; else it would hold the lock as long as it runs."""
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_held)
