"""Reads LaSCo, on images of COCO 2014.

Levy et al., *Data Roaming and Quality Assessment for Composed Image Retrieval*, AAAI 2024, arXiv 2303.09429.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.collector import Damaged, has_value, require_text
from mmgrad_explain.data.cir.dataset import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector


def read(collector: Collector) -> None:
    """Read the splits ``train`` and ``val``; ids of images are COCO's numbers.

    Annotations are in the root or in ``downloads/``. The corpora write ``val/val2014/...`` where the queries write
    ``val2014/...``; both are tried, below the root, ``images/`` and ``coco/``.
    """
    collector.advice = "put COCO's train2014/ and val2014/ into the folder"
    bases = [collector.root, collector.root / "images", collector.root / "coco"]
    for split in collector.splits:
        folder = collector.find_folder("downloads", ".", holding=f"lasco_{split}.json")
        file, corpus = folder / f"lasco_{split}.json", folder / f"lasco_{split}_corpus.json"
        if not collector.is_present(split, file, corpus):
            continue
        listed = collector.keep_usable(split, corpus, collector.read_json(split, corpus, list), _names_an_image)
        gallery = [str(entry["id"]) for entry in listed]
        paths: dict[str, str] = {str(entry["id"]): entry["path"] for entry in listed}
        make = partial(_triplet, paths=paths)
        collector.queries[split] = tuple(
            collector.make_queries(split, file, collector.read_json(split, file, list), make)
        )
        collector.galleries[split] = tuple(gallery)
        for image, place in paths.items():
            path = PurePosixPath(place)
            short = PurePosixPath(*path.parts[-2:])
            collector.add_image(image, *(base / below for below in dict.fromkeys((path, short)) for base in bases))


def _triplet(_: int, entry: Any, paths: dict[str, str]) -> CirTriplet:
    reference = _image(entry, "query-image", paths)
    target = _image(entry, "target-image", paths) if has_value(entry, "target-image") else None
    relevant = () if target is None else (target,)
    return CirTriplet(
        require_text(entry, "qid", number=True), reference, (require_text(entry, "query-text"),), target, relevant
    )


def _image(entry: Any, key: str, paths: dict[str, str]) -> str:
    pair = entry[key] if has_value(entry, key) else None
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise Damaged(f"has no {key} of a number and a path")
    image = str(pair[0])
    paths.setdefault(image, pair[1])
    return image


def _names_an_image(entry: Any) -> bool:
    return has_value(entry, "id") and has_value(entry, "path") and isinstance(entry["path"], str)
