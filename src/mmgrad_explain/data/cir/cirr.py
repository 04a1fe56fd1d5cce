"""Reads CIRR, annotations ``rc2``.

Liu et al., *Image Retrieval on Real-life Images with Pre-trained Vision-and-Language Models*, ICCV 2021, arXiv
2108.04024.

Annotations are in ``captions/`` and ``image_splits/`` of the root or of ``cirr/`` in it; images in ``img_raw/`` of
either, or in the root, under the path that the split file gives, with or without the numbered folders of ``train/``.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.collector import Damaged, has_value, require_text, require_texts
from mmgrad_explain.data.cir.dataset import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector

VERSION = "rc2"


def read(collector: Collector) -> None:
    """Read the splits ``train``, ``val`` (whose images are called ``dev``) and ``test1``."""
    annotations = collector.find_folder("cirr", ".", holding="captions")
    bases = [collector.root / "img_raw", annotations / "img_raw", collector.root, annotations]
    collector.advice = "ask the makers of NLVR2 for its images and put train/, dev/ and test1/ into the folder"
    for split in collector.splits:
        captions = annotations / "captions" / f"cap.{VERSION}.{split}.json"
        split_file = annotations / "image_splits" / f"split.{VERSION}.{split}.json"
        if not collector.is_present(split, captions, split_file):
            continue
        files = collector.read_json(split, split_file, dict)
        usable = collector.keep_usable(split, split_file, files.items(), lambda item: isinstance(item[1], str))
        for name, place in usable:
            path = PurePosixPath(place)
            flat = path.parent.parent / path.name if path.parent.name.isdecimal() else path
            collector.add_image(name, *(base / below for below in dict.fromkeys((path, flat)) for base in bases))
        collector.galleries[split] = tuple(name for name, _ in usable)
        entries = collector.read_json(split, captions, list)
        collector.queries[split] = tuple(collector.make_queries(split, captions, entries, _triplet))


def _triplet(_: int, entry: Any) -> CirTriplet:
    group = require_texts(entry["img_set"], "members") if has_value(entry, "img_set") else ()
    target = require_text(entry, "target_hard") if has_value(entry, "target_hard") else None
    soft = entry["target_soft"] if has_value(entry, "target_soft") else {}
    if not isinstance(soft, dict) or not all(isinstance(score, int | float) for score in soft.values()):
        raise Damaged("has a target_soft that is no mapping from names to scores")
    return CirTriplet(
        require_text(entry, "pairid", number=True),
        require_text(entry, "reference"),
        (require_text(entry, "caption"),),
        target,
        () if target is None else (target,),
        group,
        {name: float(score) for name, score in soft.items()},
    )
