"""Reads your own triplets: ``triplets.jsonl``, one JSON object a line.

Keys: ``reference`` (a path below the folder) and ``text`` (or ``captions``, a list) are needed. ``target`` is a path,
or ``targets`` a list of paths that all count as right, with the target first; ``id``, ``split`` and ``group`` (a
list of paths) are optional, and other keys are left alone: the sets of ``mmgrad-explain data edits`` can be read. The
gallery of a split is ``gallery.SPLIT.txt`` or ``gallery.txt``, one path a line, or else every image its queries name.

To train there may be ``paraphrases`` (a list of texts), ``edit`` (a word), and ``mask`` and ``target_mask``: paths of
grey images, bright where the text asks for a change in the reference and in the target. In a record with
``mask_object_in``, as the sets of this package have it, one mask is for both images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import parse_json
from mmgrad_explain.data.cir.collector import Damaged, require_text, require_texts
from mmgrad_explain.data.cir.dataset import CirTriplet
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.data.set_files import TRIPLETS_FILE
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector

SPLIT = "all"
"""The split of queries that name no split."""


def read(collector: Collector) -> None:
    """Read the splits that the records name, or those that the user named."""
    file = collector.root / TRIPLETS_FILE
    collector.advice = "paths start at the folder that holds triplets.jsonl"
    if not collector.is_present(SPLIT, file):
        return
    splits: dict[str, list[CirTriplet]] = {}

    def triplet(number: int, line: str) -> CirTriplet:
        found, split = _triplet(number, line)
        splits.setdefault(split, []).append(found)
        return found

    list(collector.make_queries("all", file, collector.read_lines("all", file), triplet))
    wanted = collector.splits if collector.asked else tuple(splits)
    for split in wanted:
        if split not in splits:
            collector.add_finding(
                "needed", split, "no query of this split", [TRIPLETS_FILE], f"there are {', '.join(splits)}"
            )
        queries = collector.queries[split] = tuple(splits.get(split, ()))
        named = [image for q in queries for image in (q.reference, *q.relevant, *q.group)]
        lists = [collector.root / f"gallery.{split}.txt", collector.root / "gallery.txt"]
        listed = next((path for path in lists if path.exists()), None)
        gallery = named if listed is None else collector.read_lines(split, listed)
        collector.galleries[split] = tuple(dict.fromkeys(gallery) if listed is None else gallery)
        for image in (*gallery, *named):
            collector.add_image(image, collector.root / image)


def _triplet(number: int, line: str) -> tuple[CirTriplet, str]:
    try:
        entry: Any = parse_json(line, "is not JSON")
    except InputError as error:
        raise Damaged(str(error)) from error
    if not isinstance(entry, dict):
        raise Damaged("is not an object")
    captions = require_texts(entry, "captions") if "captions" in entry else (require_text(entry, "text"),)
    relevant = require_texts(entry, "targets") if "targets" in entry else ()
    if entry.get("target") is not None:
        relevant = tuple(dict.fromkeys((require_text(entry, "target"), *relevant)))
    group = require_texts(entry, "group") if "group" in entry else ()
    name = require_text(entry, "id", number=True) if "id" in entry else str(number)
    split = require_text(entry, "split") if "split" in entry else SPLIT
    target = relevant[0] if relevant else None
    mask, target_mask = _mask(entry, "mask"), _mask(entry, "target_mask")
    if target_mask is None and "mask_object_in" in entry:
        target_mask = mask
    triplet = CirTriplet(
        name,
        require_text(entry, "reference"),
        captions,
        target,
        relevant,
        group,
        paraphrases=require_texts(entry, "paraphrases") if "paraphrases" in entry else (),
        mask=mask,
        target_mask=target_mask,
        edit=entry["edit"] if isinstance(entry.get("edit"), str) else "",
    )
    return triplet, split


def _mask(entry: Any, key: str) -> str | None:
    """Read the path of a mask; None where the record has none."""
    if entry.get(key) is None:
        return None
    path = require_text(entry, key)
    if leaves_folder(path):
        raise Damaged(f"has a {key} whose path leads out of the folder")
    return path
