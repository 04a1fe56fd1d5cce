"""Reads CIRCO: several right answers for a query; the gallery is the unlabelled images of COCO 2017.

Baldrati et al., *Zero-Shot Composed Image Retrieval with Textual Inversion*, ICCV 2023, arXiv 2303.15247.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.collector import has_value, require_text, require_texts
from mmgrad_explain.data.cir.dataset import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector

_LIST = "image_info_unlabeled2017.json"


def read(collector: Collector) -> None:
    """Read the splits ``val`` and ``test``; ids of images are COCO's numbers."""
    coco = collector.find_folder("COCO2017_unlabeled", ".", holding=f"annotations/{_LIST}")
    listing, images = coco / "annotations" / _LIST, coco / "unlabeled2017"
    collector.advice = "unpack COCO's unlabeled2017.zip there"
    info: list[Any] | None = None
    for split in collector.splits:
        file = collector.root / "annotations" / f"{split}.json"
        if not collector.is_present(split, file):
            continue
        if info is None:
            found = collector.read_json(split, listing, dict).get("images", [])
            info = collector.keep_usable(split, listing, found, _has_number)
            for entry in info:
                name = str(entry.get("file_name") or f"{entry['id']:012d}.jpg")
                collector.add_image(str(entry["id"]), images / name)
        entries = collector.read_json(split, file, list)
        queries = tuple(collector.make_queries(split, file, entries, _triplet))
        collector.queries[split] = queries
        collector.galleries[split] = tuple(str(entry["id"]) for entry in info)
        if not info:  # without the list the images of the queries are all that is known
            for image in (image for query in queries for image in (query.reference, *query.relevant)):
                collector.add_image(image, images / f"{int(image):012d}.jpg")


def _has_number(entry: Any) -> bool:
    return has_value(entry, "id") and isinstance(entry["id"], int)


def _triplet(_: int, entry: Any) -> CirTriplet:
    judged = has_value(entry, "target_img_id")
    target = require_text(entry, "target_img_id", number=True) if judged else None
    relevant = require_texts(entry, "gt_img_ids") if judged else ()
    aspects = require_texts(entry, "semantic_aspects") if has_value(entry, "semantic_aspects") else ()
    if target is not None and target not in relevant:
        relevant = (target, *relevant)
    return CirTriplet(
        require_text(entry, "id", number=True),
        require_text(entry, "reference_img_id", number=True),
        (require_text(entry, "relative_caption"),),
        target,
        tuple(dict.fromkeys(relevant)),
        aspects=aspects,
    )
