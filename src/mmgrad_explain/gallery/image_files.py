"""Image files: finding them in folders, reading them for the index, and checking whether they have changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.store import LONGEST_PATH, Entry
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 2**30  # bytes of a file that is read whole


@dataclass
class FoundImages:
    """The image files of some folders.

    Attributes:
        roots: The folders, with links resolved.
        files: Absolute paths of the image files, sorted. A file that several links lead to is listed once, by its own
            path if that is among them.
        problems: Files and folders that cannot be used, by path, with the reason.
        others: How many files have names that are not those of images.
        hidden: How many files and folders have names that begin with a dot; they are left out.
    """

    roots: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    others: int = 0
    hidden: int = 0

    def covers(self, path: str) -> bool:
        """Return whether a path is in one of the folders."""
        return any(path.startswith(path_prefix(root)) for root in self.roots)


def find_images(folders: Sequence[str | Path]) -> FoundImages:
    """Find the image files in folders and the folders in them, through links; hidden ones are left out.

    Args:
        folders: Where to look.

    Raises:
        InputError: A folder does not exist or is a file, or no folder is named.
    """
    found = FoundImages(roots=[os.path.realpath(place) for place in check_folders(folders)])
    names: list[str] = []
    for root in dict.fromkeys(found.roots):
        names += _walk(root, found)
    by_real_path: dict[str, str] = {}
    for name in sorted(set(names), key=lambda name: (os.path.realpath(name) != name, name)):
        by_real_path.setdefault(os.path.realpath(name), name)
    found.files = sorted(by_real_path.values())
    return found


def check_folders(folders: Sequence[str | Path]) -> list[Path]:
    """Check that folders exist, and give their paths.

    Raises:
        InputError: As :func:`find_images`.
    """
    if not folders:
        raise InputError("no folder: name at least one folder of images")
    places = [Path(folder).expanduser() for folder in folders]
    for place in places:
        if not place.is_dir():
            what = "is a file: name the folder it is in" if place.exists() else "is not there: check its name"
            raise InputError(f"folder {place} {what}")
    return places


def _walk(root: str, found: FoundImages) -> list[str]:
    """List the image files below a folder; a folder that links lead to twice is entered once."""
    entered = {os.path.realpath(root)}
    names: list[str] = []

    def note_problem(error: OSError) -> None:
        found.problems[_printable(str(error.filename))] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=note_problem, followlinks=True):
        here = Path(folder)
        folders.sort(key=lambda name, here=here: ((here / name).is_symlink(), name))  # type: ignore[misc]
        visible = [name for name in folders if not name.startswith(".")]
        found.hidden += len(folders) - len(visible)
        folders[:] = [name for name in visible if _enter(os.path.realpath(here / name), entered)]
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


def _enter(folder: str, entered: set[str]) -> bool:
    """Mark a folder as entered, and return whether it was not before."""
    is_new = folder not in entered
    entered.add(folder)
    return is_new


def _unusable(path: Path) -> str | None:
    """Return the reason why a file cannot be indexed, or None."""
    try:
        length = len(str(path).encode())
    except UnicodeEncodeError:
        return "its name is not valid UTF-8: rename it"
    if length > LONGEST_PATH:
        return f"its path is longer than {LONGEST_PATH} bytes"
    if not path.exists():
        return "the link leads nowhere"
    return None if path.is_file() else "it is no ordinary file"


def path_prefix(folder: str) -> str:
    """Return what the paths of everything in a folder begin with."""
    return folder.rstrip(os.sep) + os.sep


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")


def read_file(path: str) -> tuple[Entry, bytes]:
    """Read a file's content and its row for the index. A change during the reading is noticed the next time.

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
    """Compare a file's size and time with its row: ``"there"``, ``"changed"`` or ``"gone"``."""
    try:
        now = Path(entry.path).stat()
    except OSError:
        return "gone"
    return "there" if (now.st_size, now.st_mtime_ns) == (entry.size, entry.mtime_ns) else "changed"
