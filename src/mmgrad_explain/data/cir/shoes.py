"""Reader of the Shoes data set.

Guo et al., *Dialog-based Interactive Image Retrieval*, NeurIPS 2018, arXiv 1805.00145, on images of Berg et al.,
*Automatic Attribute Discovery and Characterization from Noisy Web Data*, ECCV 2010.

Three forms of the annotations are read, from the root or from ``dataset/`` in it: the published one
(``relative_captions_shoes.json`` with ``train_im_names.txt`` and ``eval_im_names.txt``), lists in JSON as ARTEMIS
prepares them (``triplet.val.json``, ``split.val.json``) and the text files of VAL (``shoes-cap-test.txt``,
``shoes-test-all.txt``). Images are found by name, anywhere below the root.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import strip_blanks
from mmgrad_explain.data.cir.collector import Damaged, require_text
from mmgrad_explain.data.cir.dataset import CirTriplet

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.cir.collector import Collector
    from mmgrad_explain.data.cir.dataset import Level

PUBLISHED = "relative_captions_shoes.json"
_IN_JSON, _IN_TEXT = {"train": "train", "eval": "val"}, {"train": "train", "eval": "test"}


def read(collector: Collector) -> None:
    """Read the splits ``train`` and ``eval``. The id of a query is its position in the file, from 0."""
    collector.advice = "put the folders womens_*/ of the attribute discovery data anywhere below the folder"
    folders = [collector.root / "dataset", collector.root]
    if any((folder / PUBLISHED).exists() for folder in folders):
        _published(collector, collector.find_folder("dataset", ".", holding=PUBLISHED))
    elif prepared := [folder for folder in folders if any(folder.glob("triplet.*.json"))]:
        _json(collector, prepared[0])
    elif written := [folder for folder in folders if any(folder.glob("shoes-cap-*.txt"))]:
        _text(collector, written[0])
    else:
        collector.absent["eval"] = folders[0] / PUBLISHED
        return
    found = collector.list_images(collector.root)
    used = {image for gallery in collector.galleries.values() for image in gallery}
    for image in sorted(used | {query.reference for queries in collector.queries.values() for query in queries}):
        collector.add_image(image, found.get(image, collector.root / image))


def _published(collector: Collector, folder: Path) -> None:
    file = folder / PUBLISHED
    lists = {split: [*map(_name, collector.read_lines(split, folder / f"{split}_im_names.txt"))] for split in _IN_JSON}
    split_of = {image: split for split, images in lists.items() for image in images}
    triplets = list(collector.make_queries("eval", file, collector.read_json("eval", file, list), _triplet))
    for split in collector.splits:
        collector.galleries[split] = tuple(lists[split])
        collector.queries[split] = tuple(query for query in triplets if split_of.get(query.target or "") == split)
    strays = [f"no. {int(query.id) + 1}" for query in triplets if query.target not in split_of]
    worst: Level = "training" if lists["eval"] and not lists["train"] else "needed"
    collector.add_finding(
        worst, "train and eval", "query whose target is in no list", strays, "are the lists complete?"
    )
    known = [query for query in triplets if query.target in split_of and query.reference in split_of]
    crossing = [f"no. {int(q.id) + 1}" for q in known if split_of[q.reference] != split_of[q.target or ""]]
    collector.add_finding(
        "odd", "train and eval", "query from one into the other", crossing, "it belongs to its target's"
    )


def _json(collector: Collector, folder: Path) -> None:
    for split in collector.splits:
        file, gallery = (folder / f"{kind}.{_IN_JSON[split]}.json" for kind in ("triplet", "split"))
        if collector.is_present(split, file, gallery):
            entries = collector.read_json(split, file, list)
            collector.queries[split] = tuple(collector.make_queries(split, file, entries, _triplet))
            names = collector.read_json(split, gallery, list)
            usable = collector.keep_usable(split, gallery, names, lambda name: isinstance(name, str))
            collector.galleries[split] = tuple(map(_name, usable))


def _text(collector: Collector, folder: Path) -> None:
    for split in collector.splits:
        file = folder / f"shoes-cap-{_IN_TEXT[split]}.txt"
        if not collector.is_present(split, file):
            continue
        collector.queries[split] = queries = tuple(
            collector.make_queries(split, file, collector.read_lines(split, file), _of_line)
        )
        listed = folder / f"shoes-{_IN_TEXT[split]}-all.txt"
        names = [*map(_name, collector.read_lines(split, listed))] if split == "eval" or listed.exists() else []
        used = [image for query in queries for image in (query.reference, *query.relevant)]
        collector.galleries[split] = tuple(dict.fromkeys([*names, *used]))


def _triplet(number: int, entry: Any) -> CirTriplet:
    target = _name(require_text(entry, "ImageName"))
    captions = (require_text(entry, "RelativeCaption"),)
    return CirTriplet(str(number), _name(require_text(entry, "ReferenceImageName")), captions, target, (target,))


def _of_line(number: int, line: str) -> CirTriplet:
    parts = line.split(";", 2)
    if len(parts) < 3:
        raise Damaged("is not reference;target;caption")
    reference, target = map(_name, parts[:2])
    return CirTriplet(str(number), reference, (parts[2],), target, (target,))


def _name(path: str) -> str:
    return PurePosixPath(strip_blanks(path)).name
