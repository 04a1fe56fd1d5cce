"""The folder that a triplet set is built in: which files are ours, and which of them a build may remove.

Ours are the files that the set's records name (``triplets.jsonl``, ``journal.jsonl``), files with the name of a
generated scene below the number of scenes in the manifest, and what
:func:`~mmgrad_explain._system.files.atomic_file` and the lock leave behind when a process is killed. Everything else is
foreign: with a foreign file in the folder a build refuses to begin, and removes nothing.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file, is_left_over, temporary_name
from mmgrad_explain._system.locking import LOCK
from mmgrad_explain.data.set_files import (
    CONTACT_SHEET_FILE,
    IMAGE_FOLDERS,
    IMAGE_KEYS,
    JOURNAL_FILE,
    LICENCES_FILE,
    MANIFEST_FILE,
    TRIPLETS_FILE,
)
from mmgrad_explain.data.triplets import split_image_path
from mmgrad_explain.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from io import FileIO
    from pathlib import Path

_FILES = (TRIPLETS_FILE, JOURNAL_FILE, LICENCES_FILE, CONTACT_SHEET_FILE)
_SCENE_FILE = re.compile(r"(\d{7,})(_\d+_[a-z]+(_target)?)?\.(png|jpg|npy)|\.(\d{7,})\.tmp")
_NAMED_IN_MESSAGE = 3  # foreign files


@dataclass(frozen=True)
class Contents:
    """What is in a set's folder, by paths below it, with forward slashes.

    Attributes:
        numbered: Images and masks that their names show to be ours.
        recorded: Images and masks that only records show to be ours.
        left_over: What a killed process left.
        foreign: Everything that no build of a set wrote, sorted.
    """

    numbered: set[str]
    recorded: set[str]
    left_over: set[str]
    foreign: list[str]

    @property
    def images(self) -> set[str]:
        """All images and masks that are ours."""
        return self.numbered | self.recorded


def enter_folder(out: Path, *, overwrite: bool, resume: bool) -> dict[str, Any] | None:
    """Check what may be done with a set's folder, before any work, and clear it; it must be locked.

    Args:
        out: The folder.
        overwrite: Remove the set that is there.
        resume: Go on with it.

    Returns:
        The manifest of the set to go on with; None where a new one begins.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is on.
        InputError: It holds something other than a set that was built here, or files that no build wrote.
    """
    names = {path.name for path in out.iterdir() if path.name != LOCK}
    remains = {name for name in names if is_left_over(name)}
    if names == remains:
        _remove(out, remains)
        return None
    if not (overwrite or resume):
        is_set = MANIFEST_FILE in names
        way = "--resume goes on with it, --overwrite replaces it" if is_set else "choose another folder"
        raise OutputExistsError(f"{out} is not empty: {way}")
    manifest = _read_manifest(out)
    found = list_contents(out)
    if found.foreign:
        more = len(found.foreign) - _NAMED_IN_MESSAGE
        named = ", ".join(found.foreign[:_NAMED_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")
        raise InputError(
            f"{out} holds {named}, which no build of a set has written: move it away, or choose another folder"
        )
    _remove(out, found.left_over)
    if resume:
        return manifest
    _remove(out, found.images)
    _remove(out, _FILES)  # the manifest stays until the new one replaces it: it marks the folder as ours
    return None


def begin_set(out: Path, options: Mapping[str, Any], **more: Any) -> None:
    """Write the manifest of a set that is being built, and make the folders of its images.

    Args:
        out: The set's folder.
        options: Of the set.
        **more: Further entries of the manifest: ``scenes``, the number of scenes that there will be.
    """
    write_manifest(out, {"complete": False, **more, "options": dict(options)})
    for name in IMAGE_FOLDERS:
        (out / name).mkdir(exist_ok=True)


def check_options(out: Path, before: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Check that a set was built with the same options.

    Raises:
        InputError: An option differs; the message names the first.
    """
    other = sorted(key for key in {*before, *options} if before.get(key) != options.get(key))
    if other:
        raise InputError(
            f"{out} was built with {other[0]} = {before.get(other[0])!r}, not {options.get(other[0])!r}: give the same "
            "options to resume, or --overwrite"
        )


def list_contents(out: Path) -> Contents:
    """List what is in a set's folder.

    Raises:
        InputError: It has no manifest, or not that of a set.
    """
    scenes = _read_manifest(out).get("scenes")
    bound = scenes if isinstance(scenes, int) else 0
    numbered, left_over, unknown, foreign = set[str](), set[str](), set[str](), list[str]()
    for entry in os.scandir(out):
        if entry.name in IMAGE_FOLDERS and entry.is_dir():
            for below in os.scandir(entry):
                path = f"{entry.name}/{below.name}"
                if not below.is_file(follow_symlinks=False):
                    unknown.add(path)
                elif is_left_over(below.name):
                    left_over.add(path)
                else:
                    (numbered if _is_scene(below.name, bound) else unknown).add(path)
        elif is_left_over(entry.name) and entry.is_file(follow_symlinks=False):
            left_over.add(entry.name)
        elif not (entry.name in (*_FILES, MANIFEST_FILE, LOCK) and entry.is_file()):
            foreign.append(entry.name)
    recorded = {path for path in unknown & _recorded_files(out) if (out / path).is_file()} if unknown else set()
    return Contents(numbered, recorded, left_over, sorted([*foreign, *(unknown - recorded)]))


def remove_unnamed(out: Path, found: Contents, named: AbstractSet[str]) -> None:
    """Remove images and masks of ours that no record names, and what killed processes left."""
    _remove(out, (found.images - named) | found.left_over)


def write_image(path: Path, content: bytes) -> None:
    """Write the file of an image or mask, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(temporary_name())
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_all(stream: FileIO, content: bytes) -> None:
    """Write to an unbuffered file; one call of ``write`` may stop short where the disk is full.

    Raises:
        OSError: It cannot be written.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]


def list_files(record: Mapping[str, Any]) -> Iterator[str]:
    """List the files that a record names; for an image in a stack, the stack."""
    for key in IMAGE_KEYS:
        path = record.get(key)
        if isinstance(path, str):
            yield split_image_path(path)[0]


def write_manifest(out: Path, content: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, whole or not at all."""
    with atomic_file(out / MANIFEST_FILE, overwrite=True) as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def _read_manifest(out: Path) -> dict[str, Any]:
    """Read the manifest that a build wrote."""
    try:
        manifest = json.loads((out / MANIFEST_FILE).read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{out} has no {MANIFEST_FILE}, so it is not a set that was built here: choose another folder"
        ) from None
    except (OSError, ValueError, RecursionError):
        manifest = None
    if not (isinstance(manifest, dict) and isinstance(manifest.get("options"), dict) and "complete" in manifest):
        raise InputError(f"{out / MANIFEST_FILE} is damaged, or of something else than a set: choose another folder")
    return manifest


def _is_scene(name: str, scenes: int) -> bool:
    found = _SCENE_FILE.fullmatch(name)
    return found is not None and int(found[1] or found[5]) < scenes


def _recorded_files(out: Path) -> set[str]:
    """List all images and masks that the set's records name."""
    found: set[str] = set()
    for name in (JOURNAL_FILE, TRIPLETS_FILE):
        with suppress(FileNotFoundError), (out / name).open("rb") as lines:
            for line in lines:
                with suppress(ValueError, RecursionError, AttributeError, TypeError):  # broken off, or no record
                    entry = json.loads(line)
                    for record in entry.get("records", [entry]):
                        found.update(list_files(record))
    return found


def _remove(out: Path, paths: Iterable[str]) -> None:
    try:
        for path in paths:
            (out / path).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot remove {error.filename}: {error.strerror}; check its permissions") from error
