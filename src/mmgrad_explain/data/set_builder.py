"""Builds a triplet set of any kind: in parallel, resumable, the same for every number of workers.

A set is a list of tasks, each a photograph or some scenes. A worker makes the triplets of a task; their records become
a line of ``journal.jsonl``. At the end the records of all lines become ``triplets.jsonl``, and ``manifest.json`` gets
the counts. A run that is killed at any point leaves a folder that the next run can resume or replace.
"""

from __future__ import annotations

import json
import platform
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from mmgrad_explain._system.files import advice_on, atomic_file
from mmgrad_explain._system.locking import locked
from mmgrad_explain._version import __version__
from mmgrad_explain.data.set_files import JOURNAL_FILE, TRIPLETS_FILE
from mmgrad_explain.data.set_folder import (
    begin_set,
    check_options,
    enter_folder,
    list_contents,
    list_files,
    remove_unnamed,
    write_all,
    write_image,
    write_manifest,
)
from mmgrad_explain.data.set_journal import JournalLine, read_journal, rewrite_journal
from mmgrad_explain.data.set_workers import make_in_order
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from io import FileIO

_MOST_WORKERS = 256


class MadeTriplets(NamedTuple):
    """What a worker makes of a task.

    Attributes:
        line: For the journal: a JSON object with the task's key and ``records``, with a line feed.
        triplets: Number of records.
        files: Content of images and masks that the worker did not write, by paths below the set's folder.
        drawing: CPU seconds spent on the pixels.
    """

    line: bytes
    triplets: int
    files: Mapping[str, bytes]
    drawing: float


class Task(NamedTuple):
    """Something that a worker makes triplets of.

    Attributes:
        key: Identifies the task; its line in the journal holds the key.
        arguments: Of :attr:`SetPlan.make`.
        triplets: Number of triplets that it gives, where that is known in advance; else 0.
    """

    key: Hashable
    arguments: tuple[Any, ...]
    triplets: int = 0


class Tally(Protocol):
    """Counts what a finished set holds."""

    def add(self, entry: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Count a line of the journal, without its records, and those of its records that the set holds."""

    def summarize(self) -> dict[str, Any]:
        """Return the entries of the manifest, ready for JSON.

        Raises:
            InputError: The set is empty.
        """

    def texts(self) -> Mapping[str, str]:
        """Return the text files that belong to the set, by name."""


@dataclass(frozen=True)
class SetPlan:
    """What the builder needs to know of a kind of set.

    Attributes:
        options: Ready for JSON; they decide the set.
        defaults: Values of options that a set on disk may be too old to have.
        tasks: In the order of the set.
        make: Makes a task's triplets from its arguments; picklable.
        read_key: Finds a task's key in its line of the journal.
        tally: Counts the finished set.
        packages: Packages with an entry under ``versions`` in the manifest.
        count: Number of triplets; all that the tasks give when None.
        scenes: Number of generated scenes, for sets whose file names show that they are ours; None for others.
        shrinks: Whether resuming replaces files of the task with this key by shorter ones, so that the
            ``triplets.jsonl`` on disk would name images that are gone.
    """

    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    tasks: Sequence[Task]
    make: Callable[..., MadeTriplets]
    read_key: Callable[[Mapping[str, Any]], Hashable]
    tally: Tally
    packages: Iterable[str]
    count: int | None = None
    scenes: int | None = None
    shrinks: Callable[[Any], bool] = field(default=lambda _: False)


@dataclass(frozen=True)
class BuiltSet:
    """A finished set.

    Attributes:
        folder: Where it is.
        manifest: The content of ``manifest.json``.
        made: Number of triplets that this run made.
        drawing: CPU seconds spent on the pixels, in all workers together.
        working: CPU seconds of this run, in this process and all workers, without the start of the workers.
    """

    folder: Path
    manifest: dict[str, Any]
    made: int
    drawing: float
    working: float


def build_set(
    out: str | os.PathLike[str],
    plan: SetPlan,
    *,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BuiltSet:
    """Build a triplet set.

    Args:
        out: The set's folder; made if it is missing.
        plan: What the set consists of.
        workers: Processes.
        overwrite: Replace a set that is there.
        resume: Continue an unfinished set, or make one of the same options larger or smaller.
        progress: Called after each task with the number of triplets and the number of tasks so far.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is on.
        InputError: The folder is in use, or holds anything that no build of a set wrote or a set of other options, a
            worker was killed, or the set is empty.
    """
    began = time.process_time()
    out = Path(out)
    with locked(out):
        done = _enter(out, plan, overwrite=overwrite, resume=resume)
        run = _make_missing(out, plan, done, workers, progress)
        manifest = _finish(out, plan, run.lines)
    made = run.made if plan.count is None else min(run.made, plan.count)
    return BuiltSet(out, manifest, made, run.drawing, run.in_workers + time.process_time() - began)


def check_numbers(count: int | None, workers: int) -> None:
    """Check the number of triplets (None for all) and of worker processes.

    Raises:
        InputError: One of them is out of range.
    """
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if not 1 <= workers <= _MOST_WORKERS:
        raise InputError(f"workers must be between 1 and {_MOST_WORKERS}, got {workers}")


# --------------------------------------------------------------------------------------------------- the folder's state


def _enter(out: Path, plan: SetPlan, *, overwrite: bool, resume: bool) -> dict[Hashable, JournalLine]:
    """Prepare the folder, and return the tasks that an earlier run finished."""
    before = enter_folder(out, overwrite=overwrite, resume=resume)
    scenes = plan.scenes
    if before is not None:
        check_options(out, {**plan.defaults, **before["options"]}, plan.options)
        if scenes is not None and isinstance(before.get("scenes"), int):
            scenes = max(scenes, before["scenes"])
    begin_set(out, plan.options, **({} if scenes is None else {"scenes": scenes}))
    return {} if before is None else _find_done(out, plan)


def _find_done(out: Path, plan: SetPlan) -> dict[Hashable, JournalLine]:
    """Find the tasks with all of their files, and drop the other lines from the journal unless they own files."""
    contents = list_contents(out)
    lines = read_journal(out / JOURNAL_FILE, plan.read_key, contents.images, contents.recorded)
    newest = {line.key: line for line in lines}
    done = set[JournalLine]()
    total = 0
    for task in plan.tasks:
        line = newest.get(task.key)
        if _is_enough(plan, total):
            break
        if line is None:
            total += task.triplets
            continue
        needed = line.triplets if plan.count is None else min(line.triplets, plan.count - total)
        if line.whole >= needed:  # the files of triplets beyond the count may be gone
            done.add(line)
        total += line.triplets
    if any(plan.shrinks(line.key) for line in lines if line not in done):
        (out / TRIPLETS_FILE).unlink(missing_ok=True)
    kept = [line for line in lines if line in done or line.owns]
    moved = rewrite_journal(out / JOURNAL_FILE, kept)
    return {new.key: new for old, new in zip(kept, moved, strict=True) if old in done}


def _is_enough(plan: SetPlan, triplets: int) -> bool:
    return plan.count is not None and triplets >= plan.count


# ---------------------------------------------------------------------------------------------------------------- work


@dataclass
class _Run:
    """What a run has made, and the lines of all tasks of the set, in order."""

    lines: list[JournalLine] = field(default_factory=list)
    made: int = 0
    drawing: float = 0.0
    in_workers: float = 0.0


def _make_missing(
    out: Path,
    plan: SetPlan,
    done: Mapping[Hashable, JournalLine],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> _Run:
    run = _Run()
    total = 0
    missing = [task.arguments for task in plan.tasks if task.key not in done]
    with closing(make_in_order(plan.make, missing, workers)) as results, (out / JOURNAL_FILE).open("ab", 0) as journal:
        for task in plan.tasks:
            if _is_enough(plan, total):
                break
            line = done.get(task.key)
            if line is None:
                made, seconds = next(results)
                line = _commit(out, journal, task, made)
                run.made += made.triplets
                run.drawing += made.drawing
                run.in_workers += seconds
            run.lines.append(line)
            total += line.triplets
            if progress is not None and task.key not in done:
                progress(total if plan.count is None else min(total, plan.count), len(run.lines))
    return run


def _commit(out: Path, journal: FileIO, task: Task, made: MadeTriplets) -> JournalLine:
    """Write a task's line to the journal, then its files. So the journal names every file before it exists."""
    try:
        start = journal.tell()
        write_all(journal, made.line)
        for path, content in made.files.items():
            write_image(out / path, content)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then go on with --resume"
        ) from error
    return JournalLine(task.key, start, len(made.line), made.triplets, made.triplets, owns=bool(made.files))


def _finish(out: Path, plan: SetPlan, lines: Sequence[JournalLine]) -> dict[str, Any]:
    """Write ``triplets.jsonl`` and the manifest, delete our images that no triplet uses, and return the manifest."""
    named: set[str] = set()
    contents = list_contents(out)
    with (out / JOURNAL_FILE).open("rb") as journal, atomic_file(out / TRIPLETS_FILE, overwrite=True) as stream:
        count = 0
        for records in _read_records(journal, lines, plan):
            count += len(records)
            for record in records:
                named.update(list_files(record))
                stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        manifest = {
            "complete": True,
            "count": count,
            **plan.tally.summarize(),
            "options": dict(plan.options),
            "versions": _find_versions(plan.packages),
        }
        for name, text in plan.tally.texts().items():
            with atomic_file(out / name, overwrite=True) as file:
                file.write(text.encode())
    remove_unnamed(out, contents, named)
    rewrite_journal(out / JOURNAL_FILE, lines)
    write_manifest(out, manifest)
    return manifest


def _read_records(journal: BinaryIO, lines: Sequence[JournalLine], plan: SetPlan) -> Iterator[list[dict[str, Any]]]:
    """Read and count the records that the set holds, line by line; contrast partners outside of it are dropped."""
    count = 0
    for line in lines:
        journal.seek(line.start)
        entry = json.loads(journal.read(line.length))
        records = entry.pop("records")[: None if plan.count is None else plan.count - count]
        kept = {record["id"] for record in records}
        for record in records:
            record["contrast_ids"] = [other for other in record["contrast_ids"] if other in kept]
        plan.tally.add(entry, records)
        count += len(records)
        yield records


def _find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Find the versions of this package, of Python, and of those of some packages that are installed."""
    found = {"mmgrad_explain": __version__, "python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
