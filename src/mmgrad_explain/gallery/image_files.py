"""The picture files of folders, and what is read of one to index it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain._system.reading import reading
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.store import LONGEST_PATH, Entry
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 2**30  # bytes of a file that is read whole


@dataclass
class Found:
    """What lies in some folders.

    Attributes:
        roots: The folders, as they really are.
        files: The picture files by absolute path, sorted; a file that several links lead to once, by its own path where
            that is among them.
        problems: What could not be looked at, by path, and why.
        others: How many files are no pictures by their names.
        hidden: How many files and folders have names that begin with a dot; they are left out.
    """

    roots: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    others: int = 0
    hidden: int = 0

    def covers(self, path: str) -> bool:
        """Whether a path lies in one of the folders."""
        return any(path.startswith(inside(root)) for root in self.roots)


def find_pictures(folders: Sequence[str | Path]) -> Found:
    """Look for picture files, in folders within folders too, through links; what is hidden is left out.

    Args:
        folders: Where.

    Raises:
        InputError: A folder is not there, or is none, or no folder is named.
    """
    found = Found(roots=[os.path.realpath(place) for place in check_folders(folders)])
    names: list[str] = []
    for root in dict.fromkeys(found.roots):
        names += _walk(root, found)
    own: dict[str, str] = {}
    for name in sorted(set(names), key=lambda name: (os.path.realpath(name) != name, name)):
        own.setdefault(os.path.realpath(name), name)
    found.files = sorted(own.values())
    return found


def check_folders(folders: Sequence[str | Path]) -> list[Path]:
    """The folders, if they are there.

    Raises:
        InputError: As :func:`find_pictures`.
    """
    if not folders:
        raise InputError("no folder: name at least one folder of pictures")
    places = [Path(folder).expanduser() for folder in folders]
    for place in places:
        if not place.is_dir():
            what = "is a file: name the folder it is in" if place.exists() else "is not there: check its name"
            raise InputError(f"folder {place} {what}")
    return places


def _walk(root: str, found: Found) -> list[str]:
    """The picture files below a folder; a folder that links lead to twice is entered once."""
    entered = {os.path.realpath(root)}
    names: list[str] = []

    def cannot(error: OSError) -> None:
        found.problems[_printable(str(error.filename))] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=cannot, followlinks=True):
        here = Path(folder)
        folders.sort(key=lambda name, here=here: ((here / name).is_symlink(), name))  # type: ignore[misc]
        shown = [name for name in folders if not name.startswith(".")]
        found.hidden += len(folders) - len(shown)
        folders[:] = [name for name in shown if not _seen(os.path.realpath(here / name), entered)]
        for name in files:
            path = here / name
            if name.startswith("."):  # thumbnails of a system, and what macOS writes beside a file (._photo.jpg)
                found.hidden += 1
            elif path.suffix.lower() not in IMAGE_SUFFIXES:
                found.others += 1
            elif (why := _unusable(path)) is not None:
                found.problems[_printable(str(path))] = why
            else:
                names.append(str(path))
    return names


def _seen(place: str, entered: set[str]) -> bool:
    before = place in entered
    entered.add(place)
    return before


def _unusable(path: Path) -> str | None:
    try:
        length = len(str(path).encode())
    except UnicodeEncodeError:
        return "its name is not valid UTF-8: rename it"
    if length > LONGEST_PATH:
        return f"its path is longer than {LONGEST_PATH} bytes"
    if not path.exists():
        return "the link leads nowhere"
    return None if path.is_file() else "it is no ordinary file"


def inside(folder: str) -> str:
    """What the paths of all that lies in a folder begin with."""
    return folder.rstrip(os.sep) + os.sep


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")


def read_file(path: str) -> tuple[Entry, bytes]:
    """A file's content and what is remembered of it. What changes while it is read is noticed the next time.

    Raises:
        InputError: It cannot be read.
    """
    with reading(f"{path} cannot be read"):
        before = Path(path).stat()
        if before.st_size > _LARGEST:
            raise InputError(f"{path} is too large: {before.st_size / 1e6:.0f} MB, of at most {_LARGEST / 1e6:.0f}")
        content = Path(path).read_bytes()
    return Entry(path, before.st_size, before.st_mtime_ns, hashlib.sha256(content).hexdigest()), content


def state_of(entry: Entry) -> str:
    """Whether a file is as it was, by its size and time: ``"there"``, ``"changed"`` or ``"gone"``."""
    try:
        now = Path(entry.path).stat()
    except OSError:
        return "gone"
    return "there" if (now.st_size, now.st_mtime_ns) == (entry.size, entry.mtime_ns) else "changed"
