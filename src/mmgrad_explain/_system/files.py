"""Write files and folders whole or not at all; devices and pipes are written to, never replaced."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmgrad_explain.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEFT_OVER = re.compile(r"\.mmgrad-[0-9a-f]{32}\.tmp")
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EMLINK}
"""Errors of file systems without hard links."""

_ADVICE = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EROFS: "write to another disk",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.ENOENT: "check its name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EPIPE: "whoever read from it has stopped",
}


def advice_on(error: OSError) -> str:
    """Return what a user can do about a system error, such as ``"free some space, or write to another disk"``."""
    return _ADVICE.get(error.errno or 0, "check the place, or choose another")


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Check, without writing anything, that a file can be written. Missing folders are no error.

    Args:
        path: The file. A terminal, ``/dev/null`` or a pipe can be written to without ``overwrite``.
        overwrite: Whether it may exist.

    Raises:
        OutputExistsError: It exists and must not be overwritten.
        InputError: It is a folder or a disk, or the folder above it is a file or cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if _takes_bytes(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: no permission to write into it")
        return
    if path.is_block_device():
        raise InputError(f"cannot write {path}: it is a disk")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is there already: choose another name or ask to overwrite")
    folder = behind_links(path).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write into {folder}")


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes ``path`` when the block ends without an error; missing folders are made.

    If the block raises, ``path`` stays as it was. A file that appears there while the block runs is replaced only with
    ``overwrite``. A link stays a link, and its target is written. A file that is replaced keeps its permissions. A
    device or a pipe gets the content at the end of the block.

    Args:
        path: The file.
        overwrite: Replace it if it exists.

    Raises:
        OutputExistsError: It exists and must not be overwritten.
        InputError: It cannot be written.
    """
    check_writable(path, overwrite=overwrite)
    try:
        with (_into_device if _takes_bytes(path) else _into_file)(path, overwrite) as stream:
            yield stream
    except FileExistsError:
        raise OutputExistsError(f"{path} is there already: choose another name or ask to overwrite") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}: {advice_on(error)}") from error


def write_next_free(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file under the first free name of ``map.png``, ``map-2.png``, ``map-3.png`` and so on.

    Args:
        path: The first name to try.
        write: Writes the file; raises OutputExistsError where the name is taken, as :func:`atomic_file` does.

    Returns:
        The name that was free.
    """
    while True:
        free = next_free(path)
        with suppress(OutputExistsError):  # taken by another process in the meantime
            write(free)
            return free


def next_free(path: Path) -> Path:
    """Return the first of ``map.png``, ``map-2.png``, ``map-3.png`` and so on that does not exist."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], names) if not os.path.lexists(name))


def is_standard_output(path: Path) -> bool:
    """Return whether a path is ``/dev/stdout``, ``/dev/fd/1`` or a link to one of them."""
    return _own_descriptor(path) == 1


def temporary_name() -> str:
    """Make a temporary name for a file that is being written; :func:`is_left_over` recognises it."""
    return f".mmgrad-{uuid.uuid4().hex}.tmp"


def is_left_over(name: str) -> bool:
    """Return whether a name is one of :func:`temporary_name`: killed processes leave such files."""
    return _LEFT_OVER.fullmatch(name) is not None


def put_folder(work: Path, goal: Path) -> None:
    """Move a finished folder to its place; a folder that is there is removed last, and restored if the move fails.

    Args:
        work: The new folder, beside ``goal``.
        goal: Its place. The caller makes sure that what is there may be removed.

    Raises:
        OSError: It cannot be moved.
    """
    if not goal.exists():
        work.replace(goal)
        return
    aside = goal.with_name(temporary_name())
    goal.replace(aside)
    try:
        work.replace(goal)
    except OSError:
        aside.replace(goal)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """Remove what killed processes left in a folder; no other process may be writing there."""
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if is_left_over(path.name):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _into_file(path: Path, overwrite: bool) -> Iterator[BinaryIO]:  # noqa: FBT001
    goal = behind_links(path)
    temporary = goal.with_name(temporary_name())
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
        if overwrite:
            _keep_permissions(goal, temporary)
            temporary.replace(goal)
        else:
            _put_where_nothing_is(temporary, goal)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _into_device(path: Path, _overwrite: bool) -> Iterator[BinaryIO]:  # noqa: FBT001
    content = io.BytesIO()
    yield content
    own = _own_descriptor(path)
    with path.open("wb") if own is None else os.fdopen(os.dup(own), "wb") as stream:
        stream.write(content.getbuffer())


def _put_where_nothing_is(temporary: Path, goal: Path) -> None:
    try:
        os.link(temporary, goal)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        goal.open("xb").close()  # from here on the name is taken
        temporary.replace(goal)


def _keep_permissions(goal: Path, temporary: Path) -> None:
    try:
        before = goal.stat()
    except FileNotFoundError:
        return
    with suppress(OSError, AttributeError):  # only root may give a file away; Windows knows no owners
        os.chown(temporary, before.st_uid, before.st_gid)
    temporary.chmod(stat.S_IMODE(before.st_mode))


def _takes_bytes(path: Path) -> bool:
    """Return whether a path is a terminal, a device such as ``/dev/null``, a pipe, or a descriptor of this process."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or _own_descriptor(path) is not None


def _own_descriptor(path: Path) -> int | None:
    """Return the number in ``/dev/stdout``, ``/dev/fd/3`` and the like, which are links to ``/proc/self/fd``."""
    descriptors = rf"/proc/{os.getpid()}(/task/\d+)?/fd|/dev/fd"
    for _ in range(8):
        if path.name.isdecimal() and re.fullmatch(descriptors, os.path.realpath(path.parent)):
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def behind_links(path: Path) -> Path:
    """Return the target of a link; the path itself where it is not a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path
