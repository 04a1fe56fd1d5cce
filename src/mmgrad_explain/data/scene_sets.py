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
import shutil
import time
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mmgrad_explain._version import __version__
from mmgrad_explain.data.scene_files import FOLDERS, SceneSetOptions, prepare_worker, write_scenes
from mmgrad_explain.data.triplets import FILE, picture_place
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.reading import parse_json, reading, shown
from mmgrad_explain.writing import advice_on, atomic_file, check_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"
_OURS = {FILE, MANIFEST, JOURNAL, "contact_sheet.png", *FOLDERS}
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
        InputError: An option is wrong, the folder holds something else or a set of other options, or a worker was
            killed.
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
    done = _enter(out, described, parts, count, overwrite=overwrite, resume=resume)
    missing = [part for part in parts if part not in done]
    made, drawing, elsewhere = 0, 0.0, 0.0
    with _open_journal(out) as journal:
        for part, line, seconds, outside in _results(out, options, missing, workers):
            try:
                done[part] = journal.tell()
                journal.write(line)
                journal.flush()
            except OSError as error:
                raise InputError(
                    f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then --resume"
                ) from error
            drawing += seconds
            elsewhere += outside
            made += options.edits * (part[1] - part[0])
            if progress is not None:
                progress(min(count, options.edits * sum(last - first for first, last in done)))
    manifest = _finish(out, [done[part] for part in parts], count, described)
    return BuiltScenes(out, manifest, min(made, count), drawing, elsewhere + time.process_time() - began)


def _enter(
    out: Path, described: dict[str, Any], parts: Sequence[_Part], count: int, *, overwrite: bool, resume: bool
) -> dict[_Part, int]:
    """Makes the folder ready, and gives what is done already, and where in the journal."""
    check_writable(out / MANIFEST, overwrite=True)
    if out.exists() and any(out.iterdir()):
        ours = (out / MANIFEST).is_file()
        if not (overwrite or resume):
            way = "--resume goes on with it, --overwrite replaces it" if ours else "choose another folder"
            raise OutputExistsError(f"{out} is not empty: {way}")
        foreign = sorted({path.name for path in out.iterdir()} - _OURS)
        if not ours or foreign:
            what = f"holds {foreign[0]}" if foreign else f"has no {MANIFEST}"
            raise InputError(f"{out} {what}, so it is not a set that was built here: choose another folder")
        if resume:
            return _resumed(out, described, parts, count)
        for name in _OURS:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    _write_manifest(out, {"complete": False, "options": described})
    return {}


def _resumed(out: Path, described: dict[str, Any], parts: Sequence[_Part], count: int) -> dict[_Part, int]:
    damaged = f"{out / MANIFEST} is damaged: use --overwrite, or another folder"
    with reading(damaged):
        before = parse_json((out / MANIFEST).read_text("utf-8"), damaged)["options"]
        before = {**json.loads(json.dumps(asdict(SceneSetOptions()))), **before}  # options that are newer than the set
        other = sorted(key for key in described if before[key] != described[key])
    if other:
        raise InputError(
            f"{out} was built with {other[0]} = {shown(before[other[0]])}, not {described[other[0]]!r}: give the same "
            "options to resume, or --overwrite"
        )
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    there = {f"{name}/{entry.name}" for name in FOLDERS for entry in os.scandir(out / name)}
    journal = out / JOURNAL
    data = journal.read_bytes() if journal.is_file() else b""
    done: dict[_Part, int] = {}
    kept = b""
    shorter = False
    for line in data.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # broken off: is made again
            continue
        with reading(f"{journal} is damaged: use --overwrite, or another folder"):
            first, last = entry["scenes"]
            shorter |= first == parts[-1][0] and last > parts[-1][1]
            named = entry["records"][: count - first * described["edits"]]  # the files of others are taken away
        if (first, last) in parts and all(path in there for record in named for path in _paths(record)):
            done[first, last] = len(kept)
            kept += line
    if shorter and described["format"] == "npy":  # stacks lose what the larger set named
        _write_manifest(out, {"complete": False, "options": described})
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
    """Writes what a set ends with, takes away files that no triplet names, and gives the manifest."""
    counts: dict[str, Counter[str]] = {"edits": Counter(), "named by": Counter()}
    named: set[str] = set()
    partnered = written = 0
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
                named.update(_paths(record))
                stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            written += len(records)
    for name in FOLDERS:
        for entry in list(os.scandir(out / name)):
            if f"{name}/{entry.name}" not in named:
                Path(entry.path).unlink()
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
    _write_manifest(out, manifest)
    return manifest


def _paths(record: dict[str, Any]) -> tuple[str, ...]:
    """The files a record needs."""
    return tuple(picture_place(record[key])[0] for key in ("reference", "target", "mask", "target_mask"))


def _write_manifest(out: Path, content: dict[str, Any]) -> None:
    with atomic_file(out / MANIFEST, overwrite=True) as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
