"""Reader of triplets of one's own: ``triplets.jsonl``, one JSON object a line.

Keys: ``reference`` (a path below the folder) and ``text`` (or ``captions``, a list) are needed. ``target`` is a path,
or ``targets`` a list of paths that are all right, the first of which is the target; ``id``, ``split`` and ``group`` (a
list of paths) are optional, and other keys are left alone: the sets of ``mmgrad-explain data edits`` can be read. The
gallery of a split is ``gallery.SPLIT.txt`` or ``gallery.txt``, one path a line, or else every picture its queries name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.reading import parse_json
from mmgrad_explain.data.cir.reading import Damaged, need, texts
from mmgrad_explain.data.cir.records import CirTriplet
from mmgrad_explain.data.set_files import TRIPLETS_FILE
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.reading import Reading

SPLIT = "all"
"""The split of queries that name none."""


def read_jsonl(reading: Reading) -> None:
    """Read the splits that the records name, or those asked for."""
    file = reading.root / TRIPLETS_FILE
    reading.advice = "paths start at the folder that holds triplets.jsonl"
    if not reading.here(SPLIT, file):
        return
    splits: dict[str, list[CirTriplet]] = {}

    def triplet(number: int, line: str) -> CirTriplet:
        found, split = _triplet(number, line)
        splits.setdefault(split, []).append(found)
        return found

    list(reading.records("all", file, reading.lines("all", file), triplet))
    wanted = reading.splits if reading.asked else tuple(splits)
    for split in wanted:
        if split not in splits:
            reading.note("needed", split, "no query of this split", [TRIPLETS_FILE], f"there are {', '.join(splits)}")
        queries = reading.queries[split] = tuple(splits.get(split, ()))
        named = [image for q in queries for image in (q.reference, *q.relevant, *q.group)]
        lists = [reading.root / f"gallery.{split}.txt", reading.root / "gallery.txt"]
        listed = next((path for path in lists if path.exists()), None)
        gallery = named if listed is None else reading.lines(split, listed)
        reading.galleries[split] = tuple(dict.fromkeys(gallery) if listed is None else gallery)
        for image in (*gallery, *named):
            reading.picture(image, reading.root / image)


def _triplet(number: int, line: str) -> tuple[CirTriplet, str]:
    try:
        entry: Any = parse_json(line, "is not JSON")
    except InputError as error:
        raise Damaged(str(error)) from error
    if not isinstance(entry, dict):
        raise Damaged("is not an object")
    captions = texts(entry, "captions") if "captions" in entry else (need(entry, "text"),)
    relevant = texts(entry, "targets") if "targets" in entry else ()
    if entry.get("target") is not None:
        relevant = tuple(dict.fromkeys((need(entry, "target"), *relevant)))
    group = texts(entry, "group") if "group" in entry else ()
    name = need(entry, "id", number=True) if "id" in entry else str(number)
    split = need(entry, "split") if "split" in entry else SPLIT
    target = relevant[0] if relevant else None
    return CirTriplet(name, need(entry, "reference"), captions, target, relevant, group), split
