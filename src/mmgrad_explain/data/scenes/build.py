"""Builds a triplet set of generated scenes: in parallel, resumable, the same for every number of workers.

The folder holds ``triplets.jsonl``, ``references/``, ``targets/``, ``masks/`` and ``manifest.json`` (options, versions,
counts). While the set grows, ``journal.jsonl`` takes one line for some scenes at a time, after their files: what a
whole line names is done, everything else is made again. Where the format is ``npy``, the same scenes share a file in
each folder, named after the first of them; the last file ends with the set's last scene.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mmgrad_explain._system.files import advice_on, atomic_file
from mmgrad_explain._system.locking import locked
from mmgrad_explain._version import __version__
from mmgrad_explain.data.scenes.files import SceneSetOptions, write_scenes
from mmgrad_explain.data.set_folder import (
    FOLDERS,
    JOURNAL,
    begin_set,
    check_options,
    enter_folder,
    look_into,
    pictures_of,
    remove_unnamed,
    write_manifest,
)
from mmgrad_explain.data.set_workers import prepare_worker
from mmgrad_explain.data.triplets import FILE
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CHUNK = 25  # scenes

_Part = tuple[int, int]  # the first scene, and the one after the last


@dataclass(frozen=True)
class BuiltScenes:
    """A finished set.

    Attributes:
        folder: Where it is.
        manifest: What ``manifest.json`` says.
        made: How many triplets this run made.
        drawing: How many CPU seconds drawing took, all workers together.
        working: How many CPU seconds it all took, files included, this process and all workers together; but for the
            start of the workers.
    """

    folder: Path
    manifest: dict[str, Any]
    made: int
    drawing: float
    working: float


def build_scenes(
    out: str | os.PathLike[str],
    count: int,
    options: SceneSetOptions | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> BuiltScenes:
    """Build a triplet set of generated scenes.

    Args:
        out: The set's folder; made if it is not there.
        count: Number of triplets.
        options: What scenes; the defaults when None.
        workers: Processes. With more than one, a script must guard its main part (``if __name__ == "__main__":``).
        overwrite: Replace a set that is there.
        resume: Go on with a set that was broken off, or make one of the same options larger or smaller.
        progress: Is called now and then with the number of triplets so far.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is asked for.
        InputError: An option is wrong, the folder is in use, or holds anything that no build of a set wrote or a set of
            other options, or a worker was killed.
    """
    began = time.process_time()
    options = options or SceneSetOptions()
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if not 1 <= workers <= 256:
        raise InputError(f"workers must be between 1 and 256, got {workers}")
    options.check()
    out = Path(out)
    described: dict[str, Any] = json.loads(json.dumps(asdict(options)))
    scenes = -(-count // options.edits)
    parts = [(start, min(start + _CHUNK, scenes)) for start in range(0, scenes, _CHUNK)]
    with locked(out):
        done = _enter(out, described, parts, count, overwrite=overwrite, resume=resume)
        missing = [part for part in parts if part not in done]
        made, drawing, elsewhere = 0, 0.0, 0.0
        with _open_journal(out) as journal:
            for part, line, seconds, outside in _results(out, options, missing, workers):
                done[part] = _commit(out, journal, line)
                drawing += seconds
                elsewhere += outside
                made += options.edits * (part[1] - part[0])
                if progress is not None:
                    progress(min(count, options.edits * sum(last - first for first, last in done)))
        manifest = _finish(out, [done[part] for part in parts], count, described)
    return BuiltScenes(out, manifest, min(made, count), drawing, elsewhere + time.process_time() - began)


def _commit(out: Path, journal: BinaryIO, line: bytes) -> int:
    """Writes a line of the journal; gives its place."""
    try:
        place = journal.tell()
        journal.write(line)
        journal.flush()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then --resume") from error
    return place


def _enter(
    out: Path, described: dict[str, Any], parts: Sequence[_Part], count: int, *, overwrite: bool, resume: bool
) -> dict[_Part, int]:
    """Makes the folder ready, and gives what is done already, and where in the journal."""
    before = enter_folder(out, overwrite=overwrite, resume=resume)
    scenes = parts[-1][1]
    if before is not None:
        defaults = json.loads(json.dumps(asdict(SceneSetOptions())))  # of options that are newer than the set
        check_options(out, {**defaults, **before["options"]}, described)
        scenes = max(scenes, before["scenes"] if isinstance(before.get("scenes"), int) else 0)
    begin_set(out, described, scenes=scenes)
    return {} if before is None else _resumed(out, described, parts, count)


def _resumed(out: Path, described: dict[str, Any], parts: Sequence[_Part], count: int) -> dict[_Part, int]:
    there = {f"{name}/{entry.name}" for name in FOLDERS for entry in os.scandir(out / name)}
    journal = out / JOURNAL
    data = journal.read_bytes() if journal.is_file() else b""
    done: dict[_Part, int] = {}
    kept = b""
    shorter = False
    for line in data.splitlines(keepends=True):
        try:
            entry = json.loads(line)
            first, last = entry["scenes"]
        except (ValueError, KeyError, TypeError, RecursionError):  # broken off: is made again
            continue
        shorter |= first == parts[-1][0] and last > parts[-1][1]
        named = entry["records"][: count - first * described["edits"]]  # the files of others are taken away
        if (first, last) in parts and all(path in there for record in named for path in pictures_of(record)):
            done[first, last] = len(kept)
            kept += line
    if shorter and described["format"] == "npy":  # stacks lose what the larger set named
        (out / FILE).unlink(missing_ok=True)
    if kept != data:
        with atomic_file(journal, overwrite=True) as stream:
            stream.write(kept)
    return done


def _open_journal(out: Path) -> BinaryIO:
    return (out / JOURNAL).open("ab")


def _results(
    out: Path, options: SceneSetOptions, parts: Sequence[_Part], workers: int
) -> Iterator[tuple[_Part, bytes, float, float]]:
    """Each part's line for the journal, in order, the CPU seconds of drawing, and those of other processes."""
    if workers == 1 or len(parts) < 2:
        for part in parts:
            line, drawing, _ = write_scenes(out, options, *part)
            yield part, line, drawing, 0.0
        return
    queue = iter(parts)
    pool = ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn"), prepare_worker)
    try:
        waiting = deque(
            (part, pool.submit(write_scenes, out, options, *part)) for part in itertools.islice(queue, 4 * workers)
        )
        while waiting:
            part, future = waiting.popleft()
            line, drawing, working = future.result()
            waiting.extend((new, pool.submit(write_scenes, out, options, *new)) for new in itertools.islice(queue, 1))
            yield part, line, drawing, working
    except BrokenProcessPool as error:
        raise InputError("a worker was killed, maybe for memory: go on with --resume and fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(out: Path, places: Sequence[int], count: int, described: dict[str, Any]) -> dict[str, Any]:
    """Writes what a set ends with, takes away pictures of ours that no triplet names, and gives the manifest."""
    counts: dict[str, Counter[str]] = {"edits": Counter(), "named by": Counter()}
    named: set[str] = set()
    partnered = written = 0
    found = look_into(out)
    with (out / JOURNAL).open("rb") as journal, atomic_file(out / FILE, overwrite=True) as stream:
        for place in places:
            journal.seek(place)
            records = json.loads(journal.readline())["records"][: count - written]
            kept = {record["id"] for record in records}
            for record in records:
                record["contrast_ids"] = [other for other in record["contrast_ids"] if other in kept]
                partnered += bool(record["contrast_ids"])
                counts["edits"][record["edit"]] += 1
                counts["named by"][record["qualifier"]] += 1
                named.update(pictures_of(record))
                stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            written += len(records)
    remove_unnamed(out, found, named)
    manifest = {
        "complete": True,
        "count": written,
        "scenes": -(-written // described["edits"]),
        **{what: dict(sorted(counted.items())) for what, counted in counts.items()},
        "with contrast partners": partnered,
        "options": described,
        "versions": {
            "mmgrad_explain": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", "pillow")},
        },
    }
    write_manifest(out, manifest)
    return manifest
