"""The journal of a triplet set that is being built: one line of JSON for each task that is done.

A line holds the records of the task's triplets and the key of the task. What a whole line names is done, if its files
are there. A line whose task has to be made again stays as long as only it shows that its files are ours.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.data.set_folder import list_files

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class JournalLine:
    """A line of the journal: its place in the file, and which of its images exist.

    Attributes:
        key: Of its task.
        start: Position of its first byte.
        length: In bytes.
        triplets: Number of its records.
        whole: Number of records at its beginning that have all of their files.
        owns: Whether it names files that only records show to be ours.
    """

    key: Hashable
    start: int
    length: int
    triplets: int
    whole: int
    owns: bool


def read_journal(
    path: Path,
    read_key: Callable[[Mapping[str, Any]], Hashable],
    present: set[str],
    unnumbered: set[str],
) -> list[JournalLine]:
    """Read which tasks are done; a line that broke off, or is no record of a task, is left out.

    Args:
        path: The journal; it may be missing.
        read_key: Finds the key of a task in a line.
        present: The set's files that are there, by their paths below the folder.
        unnumbered: Those of them that only records show to be ours.
    """
    found: list[JournalLine] = []
    start = 0
    with suppress(FileNotFoundError), path.open("rb") as journal:
        for line in journal:
            with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                entry = json.loads(line)
                files = [list(list_files(record)) for record in entry["records"]]
                whole = next((i for i, paths in enumerate(files) if not present.issuperset(paths)), len(files))
                owns = any(not unnumbered.isdisjoint(paths) for paths in files)
                key = read_key(entry)
                hash(key)  # a list is no key
                if line.endswith(b"\n"):
                    found.append(JournalLine(key, start, len(line), len(files), whole, owns))
            start += len(line)
    return found


def rewrite_journal(path: Path, lines: Sequence[JournalLine]) -> list[JournalLine]:
    """Reduce the journal to some of its lines, in this order; a journal that is so already is not written.

    Returns:
        The lines at their new places.

    Raises:
        InputError: It cannot be written.
    """
    moved: list[JournalLine] = []
    start = 0
    for line in lines:
        moved.append(replace(line, start=start))
        start += line.length
    if moved != list(lines) or start != (path.stat().st_size if path.exists() else 0):
        with path.open("rb") as old, atomic_file(path, overwrite=True) as new:
            for line in lines:
                old.seek(line.start)
                new.write(old.read(line.length))
    return moved
