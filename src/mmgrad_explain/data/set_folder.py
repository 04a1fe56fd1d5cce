"""The folder that a triplet set is built in: what in it is ours, going on with it, and replacing it.

Ours is what the set's own files name (``triplets.jsonl``, ``journal.jsonl``), what has the name of a generated scene of
a number that the manifest speaks of, and what :func:`~mmgrad_explain._system.files.atomic_file` and the lock leave
behind when a process is killed. Whatever else lies there is foreign: a build refuses to begin, and removes nothing.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file, is_left_over, name_left_over
from mmgrad_explain._system.locking import LOCK
from mmgrad_explain.data.triplets import FILE, PICTURES, picture_place
from mmgrad_explain.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MANIFEST, LICENCES, JOURNAL, SHEET = "manifest.json", "LICENSES.txt", "journal.jsonl", "contact_sheet.png"
FOLDERS = ("references", "targets", "masks")
_FILES = (FILE, JOURNAL, LICENCES, SHEET)
_SCENE = re.compile(r"(\d{7,})(_\d+_[a-z]+(_target)?)?\.(png|jpg|npy)|\.(\d{7,})\.tmp")
_SHOWN = 3  # foreign files that a message names


@dataclass(frozen=True)
class Contents:
    """What lies in a folder.

    Attributes:
        own: Pictures and masks of a set, by their paths below the folder, with forward slashes.
        left_over: What a killed process left there, likewise.
        foreign: All that no build of a set wrote, likewise, sorted.
    """

    own: set[str]
    left_over: set[str]
    foreign: list[str]


def enter_folder(out: Path, *, overwrite: bool, resume: bool) -> dict[str, Any] | None:
    """Find out what may be done with a set's folder, before any work, and make it ready; it must be locked.

    Args:
        out: The folder.
        overwrite: Remove the set that is there.
        resume: Go on with it.

    Returns:
        The manifest of the set to go on with; None where a new one is to be begun.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is asked for.
        InputError: It holds something else than a set that was built here, or anything beside it.
    """
    names = {path.name for path in out.iterdir() if path.name != LOCK}
    remains = {name for name in names if is_left_over(name)}
    if names == remains:
        _remove(out, remains)
        return None
    if not (overwrite or resume):
        ours = MANIFEST in names
        way = "--resume goes on with it, --overwrite replaces it" if ours else "choose another folder"
        raise OutputExistsError(f"{out} is not empty: {way}")
    manifest = _read_manifest(out)
    found = look_into(out)
    if found.foreign:
        more = len(found.foreign) - _SHOWN
        named = ", ".join(found.foreign[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        raise InputError(
            f"{out} holds {named}, which no build of a set has written: move it away, or choose another folder"
        )
    _remove(out, found.left_over)
    if resume:
        return manifest
    _remove(out, found.own)
    _remove(out, _FILES)  # the manifest stays until it is replaced: it says whose folder this is
    return None


def begin_set(out: Path, options: Mapping[str, Any], **more: Any) -> None:
    """Write the manifest of a set that is being built, and make the folders of its pictures.

    Args:
        out: The set's folder.
        options: What it is built with.
        **more: What else the manifest says; ``scenes``, how many there will be.
    """
    write_manifest(out, {"complete": False, **more, "options": dict(options)})
    for name in FOLDERS:
        (out / name).mkdir(exist_ok=True)


def check_options(out: Path, before: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Find out whether a set was built with the same options, and by the same command.

    Raises:
        InputError: It was not.
    """
    other = sorted(key for key in {*before, *options} if before.get(key) != options.get(key))
    if other:
        raise InputError(
            f"{out} was built with {other[0]} = {before.get(other[0])!r}, not {options.get(other[0])!r}: give the same "
            "options to resume, or --overwrite"
        )


def look_into(out: Path) -> Contents:
    """List what is in a set's folder.

    Raises:
        InputError: It has no manifest, or not that of a set.
    """
    left_over, foreign = set[str](), list[str]()
    pictures: dict[str, os.DirEntry[str]] = {}
    for entry in os.scandir(out):
        if entry.name in FOLDERS and entry.is_dir():
            pictures |= {f"{entry.name}/{below.name}": below for below in os.scandir(entry)}
        elif is_left_over(entry.name) and entry.is_file(follow_symlinks=False):
            left_over.add(entry.name)
        elif not (entry.name in (*_FILES, MANIFEST, LOCK) and entry.is_file()):
            foreign.append(entry.name)
    scenes = _read_manifest(out).get("scenes")
    bound = scenes if isinstance(scenes, int) else 0
    own = {path for path, entry in pictures.items() if _is_scene(entry, bound)}
    left_over |= {
        path for path, entry in pictures.items() if is_left_over(entry.name) and entry.is_file(follow_symlinks=False)
    }
    unknown = pictures.keys() - own - left_over
    if unknown:
        recorded = {path for path in unknown & _recorded(out) if pictures[path].is_file()}
        own |= recorded
        foreign += unknown - recorded
    return Contents(own, left_over, sorted(foreign))


def remove_unnamed(out: Path, found: Contents, named: set[str]) -> None:
    """Remove pictures of ours that no record names, and what killed processes left."""
    _remove(out, (found.own - named) | found.left_over)


def remove_pictures(out: Path, found: Contents, paths: Iterable[str]) -> None:
    """Remove some of our own pictures."""
    _remove(out, found.own.intersection(paths))


def put_picture(path: Path, content: bytes) -> None:
    """Write a picture, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(name_left_over())
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def pictures_of(record: Mapping[str, Any]) -> Iterator[str]:
    """The files that a record names: of a picture in a stack, the stack's."""
    for key in PICTURES:
        path = record.get(key)
        if isinstance(path, str):
            yield picture_place(path)[0]


def write_manifest(out: Path, content: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, whole or not at all."""
    with atomic_file(out / MANIFEST, overwrite=True) as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def _read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a set that a build wrote."""
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{out} has no {MANIFEST}, so it is not a set that was built here: choose another folder"
        ) from None
    except (OSError, ValueError, RecursionError):
        manifest = None
    if not (isinstance(manifest, dict) and isinstance(manifest.get("options"), dict) and "complete" in manifest):
        raise InputError(f"{out / MANIFEST} is damaged, or of something else than a set: choose another folder")
    return manifest


def _is_scene(entry: os.DirEntry[str], scenes: int) -> bool:
    found = _SCENE.fullmatch(entry.name)
    return found is not None and int(found[1] or found[5]) < scenes and entry.is_file(follow_symlinks=False)


def _recorded(out: Path) -> set[str]:
    """All pictures that the set's files name."""
    found: set[str] = set()
    for name in (JOURNAL, FILE):
        with suppress(FileNotFoundError), (out / name).open("rb") as lines:
            for line in lines:
                with suppress(ValueError, RecursionError, AttributeError, TypeError):  # broken off, or no record
                    entry = json.loads(line)
                    for record in entry.get("records", [entry]):
                        found.update(pictures_of(record))
    return found


def _remove(out: Path, paths: Iterable[str]) -> None:
    try:
        for path in paths:
            (out / path).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot remove {error.filename}: {error.strerror}; check its permissions") from error
