"""Reads FashionIQ: three categories, two captions for a query, one folder of images.

Wu et al., *Fashion IQ: A New Dataset Towards Retrieving Images by Natural Language Feedback*, CVPR 2021, arXiv
1905.12794.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.cir.collector import has_value, require_text, require_texts
from mmgrad_explain.data.cir.dataset import CirTriplet, find_level

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector


def read(collector: Collector) -> None:
    """Read the splits ``train``, ``val`` and ``test`` of each category, as parts such as ``dress.val``.

    Only the categories of the collector are read. Queries are numbered in the order of the file, from 0. Captions are
    in ``captions/`` or ``json/``.
    """
    captions = collector.find_folder("captions", "json", holding=".")
    collector.advice = "put the images into images/, as ASIN.jpg or ASIN.png"
    for split in collector.splits:
        queries = {category: captions / f"cap.{category}.{split}.json" for category in collector.categories}
        folder = collector.root / "image_splits"
        lists = {category: folder / f"split.{category}.{split}.json" for category in collector.categories}
        if not collector.is_present(split, *queries.values(), *lists.values()):
            continue
        there = [category for category in queries if queries[category].exists() or lists[category].exists()]
        for category in collector.categories:
            part = f"{category}.{split}"
            if category not in there:
                advice = f"fetch them, or take what is there ({' '.join(f'--category {one}' for one in there)})"
                names = [collector.shorten(queries[category])]
                collector.add_finding(find_level(part), part, "category without annotations", names, advice)
                continue
            listed = collector.read_json(part, lists[category], list)
            asins = collector.keep_usable(part, lists[category], listed, lambda asin: isinstance(asin, str))
            entries = collector.read_json(part, queries[category], list)
            triplets = tuple(collector.make_queries(part, queries[category], entries, _triplet))
            collector.queries[part], collector.galleries[part] = triplets, tuple(asins)
            for asin in asins:
                collector.add_image(asin, collector.root / "images" / f"{asin}.jpg")
    shared = Counter(asin for asins in collector.galleries.values() for asin in dict.fromkeys(asins))
    again = [asin for asin, count in shared.items() if count > 1]
    advice = f"so the lists name {shared.total()} images, but {len(shared)} files are all there is"
    collector.add_finding("odd", "pictures", "image that several lists name", again, advice)


def _triplet(number: int, entry: Any) -> CirTriplet:
    target = require_text(entry, "target") if has_value(entry, "target") else None
    relevant = () if target is None else (target,)
    return CirTriplet(str(number), require_text(entry, "candidate"), require_texts(entry, "captions"), target, relevant)
