"""Builds a triplet set of photographs with object masks: in parallel, resumable, the same for every number of workers.

The folder holds ``triplets.jsonl``, ``references/``, ``targets/``, ``masks/``, ``manifest.json`` (options, versions,
counts, what was left out and why) and ``LICENSES.txt``. While the set grows, ``journal.jsonl`` takes one line a
photograph, before the photograph's files, so that none is there that it does not name: a photograph whose line and
files are there is done, everything else is made again.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import advice_on, atomic_file
from mmgrad_explain._system.locking import locked
from mmgrad_explain.data.edits.manifest import licences_text, manifest_of
from mmgrad_explain.data.edits.options import EditOptions, Making
from mmgrad_explain.data.edits.worker import Made, make_triplets, photo_keys, photo_number
from mmgrad_explain.data.set_folder import (
    JOURNAL,
    LICENCES,
    begin_set,
    check_options,
    enter_folder,
    look_into,
    pictures_of,
    put_picture,
    remove_pictures,
    remove_unnamed,
    write_manifest,
)
from mmgrad_explain.data.set_workers import prepare_worker
from mmgrad_explain.data.triplets import Triplet, read_triplets, write_triplets
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.data.instances.records import InstanceSet, Photo


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
        InputError: An option is wrong, the folder is in use, or holds anything that no build of a set wrote or a set of
            other options, a worker was killed, or not one triplet could be made.
    """
    options = options or EditOptions()
    making = making or Making()
    making = replace(making, source=making.source or source.description)
    _check(count, workers)
    out = Path(out)
    described = json.loads(json.dumps({**asdict(options), **asdict(making)}))  # as it will be read again
    order = sorted(source.photos, key=lambda p: (photo_number(f"{options.seed} {p.name}"), p.name))
    with locked(out):
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
    before = enter_folder(out, overwrite=overwrite, resume=resume)
    if before is not None:
        check_options(out, before["options"], described)
    done = [] if before is None else _resumed(out, order)
    begin_set(out, described)
    return done


def _resumed(out: Path, order: Sequence[Photo]) -> list[Made]:
    journal = out / JOURNAL
    data = journal.read_bytes() if journal.is_file() else b""
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    done: list[Made] = []
    # A line that was broken off, or whose files are not all there, is made again, and all after it: the order is the
    # set's.
    for line, photo in zip(lines, order, strict=False):
        made = _read_line(line)
        if made is None or made.photo != photo.name or not _all_there(out, made.records):
            break
        done.append(made)
    if sum(map(len, lines[: len(done)])) < len(data):
        kept = {path for made in done for record in made.records for path in pictures_of(record)}
        given_up = {
            path
            for made in map(_read_line, lines[len(done) :])
            for record in (made.records if made else ())
            for path in pictures_of(record)
        }
        remove_pictures(out, look_into(out), given_up - kept)
        with atomic_file(journal, overwrite=True) as stream:
            stream.writelines(lines[: len(done)])
    return done


def _read_line(line: bytes) -> Made | None:
    try:
        return Made(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None


def _all_there(out: Path, records: Sequence[dict[str, Any]]) -> bool:
    return all((out / path).is_file() for record in records for path in pictures_of(record))


def _commit(out: Path, journal: Any, made: Made) -> None:
    """The line that names the files first, so that every file in the folder is known to be ours."""
    try:
        line = {"photo": made.photo, "records": made.records, "skipped": made.skipped, "problems": made.problems}
        journal.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        journal.flush()
        for path, content in made.files.items():
            put_picture(out / path, content)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then go on with --resume"
        ) from error


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
    """Writes what a set ends with, and takes away pictures of ours that no triplet names."""
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
    named = {path for record in records for path in pictures_of(record)}
    manifest = manifest_of(source, done, triplets, described, skipped, count)
    found = look_into(out)
    with atomic_file(out / LICENCES, overwrite=True) as stream:
        stream.write(licences_text(triplets).encode())
    write_triplets(triplets, out, overwrite=True)
    remove_unnamed(out, found, named)
    write_manifest(out, manifest)
    return Built(out, read_triplets(out), manifest)
