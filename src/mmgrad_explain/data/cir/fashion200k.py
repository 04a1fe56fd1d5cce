"""Reads Fashion200K with the queries of TIRG.

Han et al., *Automatic Spatially-Aware Fashion Concept Discovery*, ICCV 2017, arXiv 1708.01311; Vo et al., *Composing
Text and Image for Image Retrieval*, CVPR 2019, arXiv 1812.07119.

A query is two images of ``test_queries.txt``. Its text replaces a word of the first image's label by a word of the
second's. Every image with the target's label is a right answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from mmgrad_explain._system.user_files import strip_blanks
from mmgrad_explain.data.cir.collector import Damaged
from mmgrad_explain.data.cir.dataset import CirTriplet

if TYPE_CHECKING:
    from mmgrad_explain.data.cir.collector import Collector


def read(collector: Collector) -> None:
    """Read the split ``test``; ids of images are their paths. There is no list of training pairs: TIRG draws them."""
    collector.advice = "put the folder women/ into the folder"
    part, labels, file = "test", {}, collector.root / "test_queries.txt"
    files = sorted((collector.root / "labels").glob("*_test_detect_all.txt"))
    if not collector.is_present(part, file, *files):
        return
    if not files:
        looked = [collector.shorten(collector.root / "labels" / "*_test_detect_all.txt")]
        collector.add_finding("needed", part, "file missing", looked, "the label files name the images")
    damaged = []
    for path in files:
        for number, line in enumerate(collector.read_lines(part, path), 1):
            fields = line.split("\t")
            if len(fields) < 3:
                damaged.append(f"{path.name}, line {number}")
            else:
                labels[fields[0]] = strip_blanks(fields[2])
    collector.add_finding(
        "needed", part, "line that is not path, score, label", damaged, "compare it with the published file"
    )
    alike = defaultdict(list)
    for image, label in labels.items():
        alike[label].append(image)
        collector.add_image(image, collector.root / image)
    same = {label: tuple(images) for label, images in alike.items()}

    def triplet(number: int, line: str) -> CirTriplet:
        images = re.split(r"[ \t]+", line)
        if len(images) != 2:
            raise Damaged("is not two paths")
        for image in images:
            if image not in labels:
                raise Damaged(f"names {image}, which has no label")
        reference, target = images
        text = make_replacement_text(labels[reference], labels[target])
        return CirTriplet(str(number), reference, (text,), target, same[labels[target]])

    collector.queries[part] = tuple(collector.make_queries(part, file, collector.read_lines(part, file), triplet))
    collector.galleries[part] = tuple(labels)
    alike_pairs = [q.id for q in collector.queries[part] if q.reference in q.relevant]
    advice = "nothing is to be changed in it"
    collector.add_finding("odd", part, "query whose two images have one label", alike_pairs, advice)


def make_replacement_text(source: str, target: str) -> str:
    """Make TIRG's text of the first word that only the source has and the first that only the target has.

    If all words of one are in the other, its last word is taken.
    """
    before, after = source.split(), target.split()
    old = next((word for word in before if word not in after), before[-1] if before else "")
    new = next((word for word in after if word not in before), after[-1] if after else "")
    return f"replace {old} with {new}"
