"""Reader of FashionIQ: three categories, two captions a query, one folder of pictures.

Wu et al., *Fashion IQ: A New Dataset Towards Retrieving Images by Natural Language Feedback*, CVPR 2021, arXiv
1905.12794.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.reading import has, need, texts
from mmgrad_explain.data.cir.records import CirTriplet, level_of

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.reading import Reading

CATEGORIES = ("dress", "shirt", "toptee")
"""The categories of FashionIQ."""


def read_fashioniq(reading: Reading) -> None:
    """Read the splits ``train``, ``val`` and ``test`` of each category, as parts such as ``dress.val``.

    Of the categories that the reading is of. Queries are numbered in the order of the file, from 0. Captions lie in
    ``captions/`` or ``json/``.
    """
    captions = reading.folder("captions", "json", holding=".")
    reading.advice = "put the pictures into images/, as ASIN.jpg or ASIN.png"
    for split in reading.splits:
        queries = {category: captions / f"cap.{category}.{split}.json" for category in reading.categories}
        folder = reading.root / "image_splits"
        lists = {category: folder / f"split.{category}.{split}.json" for category in reading.categories}
        if not reading.here(split, *queries.values(), *lists.values()):
            continue
        there = [category for category in queries if queries[category].exists() or lists[category].exists()]
        for category in reading.categories:
            part = f"{category}.{split}"
            if category not in there:
                advice = f"fetch them, or take what is there ({' '.join(f'--category {one}' for one in there)})"
                names = [reading.short(queries[category])]
                reading.note(level_of(part), part, "category without annotations", names, advice)
                continue
            listed = reading.json(part, lists[category], list)
            asins = reading.sound(part, lists[category], listed, lambda asin: isinstance(asin, str))
            entries = reading.json(part, queries[category], list)
            triplets = tuple(reading.records(part, queries[category], entries, _triplet))
            reading.queries[part], reading.galleries[part] = triplets, tuple(asins)
            for asin in asins:
                reading.picture(asin, reading.root / "images" / f"{asin}.jpg")
    shared = Counter(asin for asins in reading.galleries.values() for asin in dict.fromkeys(asins))
    again = [asin for asin, count in shared.items() if count > 1]
    advice = f"so the lists name {shared.total()} pictures, but {len(shared)} files are all there is"
    reading.note("odd", "pictures", "picture that several lists name", again, advice)


def _triplet(number: int, entry: Any) -> CirTriplet:
    target = need(entry, "target") if has(entry, "target") else None
    relevant = () if target is None else (target,)
    return CirTriplet(str(number), need(entry, "candidate"), texts(entry, "captions"), target, relevant)
