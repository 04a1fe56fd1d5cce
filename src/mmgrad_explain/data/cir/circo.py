"""Reader of CIRCO: several right answers a query, the unlabelled pictures of COCO 2017 as gallery.

Baldrati et al., *Zero-Shot Composed Image Retrieval with Textual Inversion*, ICCV 2023, arXiv 2303.15247.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.reading import has, need, texts
from mmgrad_explain.data.cir.records import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.reading import Reading

_LIST = "image_info_unlabeled2017.json"


def read_circo(reading: Reading) -> None:
    """Read the splits ``val`` and ``test``; ids of pictures are COCO's numbers."""
    coco = reading.folder("COCO2017_unlabeled", ".", holding=f"annotations/{_LIST}")
    listing, pictures = coco / "annotations" / _LIST, coco / "unlabeled2017"
    reading.advice = "unpack COCO's unlabeled2017.zip there"
    info: list[Any] | None = None
    for split in reading.splits:
        file = reading.root / "annotations" / f"{split}.json"
        if not reading.here(split, file):
            continue
        if info is None:
            found = reading.json(split, listing, dict).get("images", [])
            info = reading.sound(split, listing, found, lambda entry: has(entry, "id") and isinstance(entry["id"], int))
            for entry in info:
                name = str(entry.get("file_name") or f"{entry['id']:012d}.jpg")
                reading.picture(str(entry["id"]), pictures / name)
        entries = reading.json(split, file, list)
        queries = tuple(reading.records(split, file, entries, _triplet))
        reading.queries[split] = queries
        reading.galleries[split] = tuple(str(entry["id"]) for entry in info)
        if not info:  # without the list the pictures of the queries are all that is known
            for image in (image for query in queries for image in (query.reference, *query.relevant)):
                reading.picture(image, pictures / f"{int(image):012d}.jpg")


def _triplet(_: int, entry: Any) -> CirTriplet:
    judged = has(entry, "target_img_id")
    target = need(entry, "target_img_id", number=True) if judged else None
    relevant = texts(entry, "gt_img_ids") if judged else ()
    aspects = texts(entry, "semantic_aspects") if has(entry, "semantic_aspects") else ()
    if target is not None and target not in relevant:
        relevant = (target, *relevant)
    return CirTriplet(
        need(entry, "id", number=True),
        need(entry, "reference_img_id", number=True),
        (need(entry, "relative_caption"),),
        target,
        tuple(dict.fromkeys(relevant)),
        aspects=aspects,
    )
