"""Reader of CIRR, annotations ``rc2``.

Liu et al., *Image Retrieval on Real-life Images with Pre-trained Vision-and-Language Models*, ICCV 2021, arXiv
2108.04024.

Annotations lie in ``captions/`` and ``image_splits/`` of the root or of ``cirr/`` in it; pictures in ``img_raw/`` of
either, or in the root, under the path that the split file gives, with or without the numbered folders of ``train/``.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.reading import Damaged, has, need, texts
from mmgrad_explain.data.cir.records import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.reading import Reading

VERSION = "rc2"


def read_cirr(reading: Reading) -> None:
    """Read the splits ``train``, ``val`` (whose pictures are called ``dev``) and ``test1``."""
    annotations = reading.folder("cirr", ".", holding="captions")
    bases = [reading.root / "img_raw", annotations / "img_raw", reading.root, annotations]
    reading.advice = "ask the makers of NLVR2 for its pictures and put train/, dev/ and test1/ into the folder"
    for split in reading.splits:
        captions = annotations / "captions" / f"cap.{VERSION}.{split}.json"
        pictures = annotations / "image_splits" / f"split.{VERSION}.{split}.json"
        if not reading.here(split, captions, pictures):
            continue
        files = reading.json(split, pictures, dict)
        usable = reading.sound(split, pictures, files.items(), lambda item: isinstance(item[1], str))
        for name, place in usable:
            path = PurePosixPath(place)
            flat = path.parent.parent / path.name if path.parent.name.isdecimal() else path
            reading.picture(name, *(base / below for below in dict.fromkeys((path, flat)) for base in bases))
        reading.galleries[split] = tuple(name for name, _ in usable)
        entries = reading.json(split, captions, list)
        reading.queries[split] = tuple(reading.records(split, captions, entries, _triplet))


def _triplet(_: int, entry: Any) -> CirTriplet:
    group = texts(entry["img_set"], "members") if has(entry, "img_set") else ()
    target = need(entry, "target_hard") if has(entry, "target_hard") else None
    soft = entry["target_soft"] if has(entry, "target_soft") else {}
    if not isinstance(soft, dict) or not all(isinstance(score, int | float) for score in soft.values()):
        raise Damaged("has a target_soft that is no mapping from names to scores")
    return CirTriplet(
        need(entry, "pairid", number=True),
        need(entry, "reference"),
        (need(entry, "caption"),),
        target,
        () if target is None else (target,),
        group,
        {name: float(score) for name, score in soft.items()},
    )
