"""Builds a triplet set of photographs with object masks: in parallel, resumable, the same for every number of workers.

The folder holds ``triplets.jsonl``, ``references/``, ``targets/``, ``masks/``, ``manifest.json`` (options, versions,
counts, what was left out and why) and ``LICENSES.txt``. While the set grows, ``journal.jsonl`` takes one line a
photograph, after the photograph's files: a line that is there whole is done, everything else is made again.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.edit_manifest import licences_text, manifest_of
from mmgrad_explain.data.edit_options import EditOptions, Making
from mmgrad_explain.data.edit_worker import Made, make_triplets, photo_keys, photo_number, prepare_worker
from mmgrad_explain.data.triplets import FILE, Triplet, read_triplets, write_triplets
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.reading import parse_json, reading, shown
from mmgrad_explain.writing import advice_on, atomic_file, check_writable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.data.instances import InstanceSet, Photo

MANIFEST, LICENCES, JOURNAL = "manifest.json", "LICENSES.txt", "journal.jsonl"
FOLDERS = ("references", "targets", "masks")
_OURS = {FILE, MANIFEST, LICENCES, JOURNAL, "contact_sheet.png", *FOLDERS}


@dataclass(frozen=True)
class Built:
    """A finished set: its folder, its triplets, and what ``manifest.json`` says."""

    folder: Path
    triplets: list[Triplet]
    manifest: dict[str, Any]


def build_edits(
    source: InstanceSet,
    out: str | os.PathLike[str],
    options: EditOptions | None = None,
    *,
    making: Making | None = None,
    count: int | None = None,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Build a triplet set.

    Photographs are taken in an order that depends on the seed and their names alone, so that a set of fewer triplets
    is the beginning of one of more.

    Args:
        source: The photographs and their objects.
        out: The set's folder; made if it is not there.
        options: What edits; the defaults when None.
        making: How they become files; the defaults when None.
        count: Stop at so many triplets; all photographs are used when None.
        workers: Processes. With more than one, a script must guard its main part (``if __name__ == "__main__":``).
        overwrite: Replace a set that is there.
        resume: Go on with a set that was broken off, or make one of the same options larger.
        progress: Is called after each photograph with the triplets and photographs so far.

    Raises:
        OutputExistsError: The folder is not empty, and neither ``overwrite`` nor ``resume`` is asked for.
        InputError: An option is wrong, the folder holds something else or a set of other options, a worker was killed,
            or not one triplet could be made.
    """
    options = options or EditOptions()
    making = making or Making()
    making = replace(making, source=making.source or source.description)
    _check(count, workers)
    out = Path(out)
    described = json.loads(json.dumps({**asdict(options), **asdict(making)}))  # as it will be read again
    order = sorted(source.photos, key=lambda p: (photo_number(f"{options.seed} {p.name}"), p.name))
    done = _enter(out, described, order, overwrite=overwrite, resume=resume)
    total = sum(len(made.records) for made in done)
    keys = photo_keys(photo.name for photo in order)
    rest = [] if count is not None and total >= count else order[len(done) :]
    with (out / JOURNAL).open("ab") as journal:
        for made in _results([(photo, keys[photo.name]) for photo in rest], options, making, workers):
            _commit(out, journal, made)
            done.append(replace(made, files={}))
            total += len(made.records)
            if progress is not None:
                progress(total, len(done))
            if count is not None and total >= count:
                break
    return _finish(source, out, done, described, count)


def _check(count: int | None, workers: int) -> None:
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if not 1 <= workers <= 256:
        raise InputError(f"workers must be between 1 and 256, got {workers}")


# --------------------------------------------------------------------------------------------------- the folder's state


def _enter(
    out: Path, described: dict[str, Any], order: Sequence[Photo], *, overwrite: bool, resume: bool
) -> list[Made]:
    """Makes the folder ready, and gives what is done already."""
    check_writable(out / MANIFEST, overwrite=True)
    if out.exists() and any(out.iterdir()):
        ours = (out / MANIFEST).is_file()
        if not (overwrite or resume):
            way = "--resume goes on with it, --overwrite replaces it" if ours else "choose another folder"
            raise OutputExistsError(f"{out} is not empty: {way}")
        foreign = sorted({path.name for path in out.iterdir()} - _OURS)
        if not ours or (overwrite and foreign):
            what = f"holds {foreign[0]}" if foreign else f"has no {MANIFEST}"
            raise InputError(f"{out} {what}, so it is not a set that was built here: choose another folder")
        if resume:
            return _resumed(out, described, order)
        for name in _OURS:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    _write_json(out / MANIFEST, {"complete": False, "options": described})
    return []


def _resumed(out: Path, described: dict[str, Any], order: Sequence[Photo]) -> list[Made]:
    damaged = f"{out / MANIFEST} is damaged: use --overwrite, or another folder"
    with reading(damaged):
        before = dict(parse_json((out / MANIFEST).read_text("utf-8"), damaged)["options"])
    other = sorted(key for key in described if before.get(key) != described[key])
    if other:
        was = shown(before.get(other[0]))
        raise InputError(
            f"{out} was built with {other[0]} = {was}, not {described[other[0]]!r}: give the same "
            "options to resume, or --overwrite"
        )
    journal = out / JOURNAL
    data = journal.read_bytes() if journal.is_file() else b""
    done: list[Made] = []
    kept = 0
    # A line that was broken off, or whose files are gone, is made again, and all after it: the order is the set's.
    for line, photo in zip(data[: data.rfind(b"\n") + 1].splitlines(keepends=True), order, strict=False):
        with reading(f"{journal} is damaged: use --overwrite, or another folder"):
            made = Made(**json.loads(line))
            here = all((out / path).is_file() for record in made.records for path in _paths(record))
        if made.photo != photo.name or not here:
            break
        done.append(made)
        kept += len(line)
    if kept < len(data):
        with atomic_file(journal, overwrite=True) as stream:
            stream.write(data[:kept])
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    return done


def _commit(out: Path, journal: Any, made: Made) -> None:
    """The files first, then the line that says they are there."""
    try:
        for path, content in made.files.items():
            (out / path).write_bytes(content)
        line = {"photo": made.photo, "records": made.records, "skipped": made.skipped, "problems": made.problems}
        journal.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        journal.flush()
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then go on with --resume"
        ) from error


def _paths(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["reference"], record["target"], record["mask"]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_file(path, overwrite=True) as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


# ---------------------------------------------------------------------------------------------------------------- work


def _results(photos: Sequence[tuple[Photo, str]], options: EditOptions, making: Making, workers: int) -> Iterator[Made]:
    """Each photograph's triplets, in order."""
    if workers == 1 or len(photos) < 2:
        yield from (make_triplets(photo, key, options, making) for photo, key in photos)
        return
    queue = iter(photos)
    pool = ProcessPoolExecutor(min(workers, len(photos)), get_context("spawn"), prepare_worker)
    try:
        waiting = deque(pool.submit(make_triplets, *next_, options, making) for next_ in islice(queue, 4 * workers))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make_triplets, *next_, options, making) for next_ in islice(queue, 1))
            yield made
    except BrokenProcessPool as error:
        raise InputError("a worker was killed, maybe for memory: go on with --resume and fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(
    source: InstanceSet, out: Path, done: Sequence[Made], described: dict[str, Any], count: int | None
) -> Built:
    """Writes what a set ends with, and takes away files that no triplet names."""
    records = [record for made in done for record in made.records][:count]
    skipped: Counter[str] = Counter()
    for made in done:
        skipped.update(made.skipped)
    if not records:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in skipped.most_common(3))
        first = next((problem for made in done for problem in made.problems), "")
        raise InputError(
            f"not one triplet could be made of {len(done)} photographs: {reasons or first or 'no objects'}"
        )
    kept = {record["id"] for record in records}
    for record in records:
        record["contrast_ids"] = [other for other in record["contrast_ids"] if other in kept]
    triplets = [Triplet.from_record(record, out) for record in records]
    named = {path for record in records for path in _paths(record)}
    for name in FOLDERS:
        for path in (out / name).iterdir():
            if f"{name}/{path.name}" not in named:
                path.unlink()
    manifest = manifest_of(source, done, triplets, described, skipped, count)
    with atomic_file(out / LICENCES, overwrite=True) as stream:
        stream.write(licences_text(triplets).encode())
    write_triplets(triplets, out, overwrite=True)
    _write_json(out / MANIFEST, manifest)
    return Built(out, read_triplets(out), manifest)
