"""Reads Fashion200K with the queries of TIRG.

Han et al., *Automatic Spatially-Aware Fashion Concept Discovery*, ICCV 2017, arXiv 1708.01311; Vo et al., *Composing
Text and Image for Image Retrieval*, CVPR 2019, arXiv 1812.07119.

A test query is two images of ``test_queries.txt``. Its text replaces a word of the first image's label by a word of the
second's. Every image with the target's label is a right answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

from mmgrad_explain._system.user_files import strip_blanks
from mmgrad_explain.data.cir.collector import Damaged
from mmgrad_explain.data.cir.dataset import CirTriplet, find_level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mmgrad_explain.data.cir.collector import Collector


DRAWN = 4
"""Training pairs of each image, at most."""


def read(collector: Collector) -> None:
    """Read the splits ``train`` and ``test``; ids of images are their paths.

    There is no list of training pairs: as in TIRG, an image is paired with images whose label differs from its own by
    one word. A few labels of each image are chosen by its name; every image with such a label is a right answer.
    """
    collector.advice = "put the folder women/ into the folder"
    for part in collector.splits:
        files = sorted((collector.root / "labels").glob(f"*_{part}_detect_all.txt"))
        queries = collector.root / "test_queries.txt"
        listed = collector.root / "labels" / f"*_{part}_detect_all.txt"
        if not collector.is_present(part, *([queries] if part == "test" else [listed]), *files):
            continue
        if not files:
            looked = [collector.shorten(listed)]
            collector.add_finding("needed", part, "file missing", looked, "the label files name the images")
        labels = _labels(collector, part, files)
        images_of: dict[str, list[str]] = defaultdict(list)
        for image, label in labels.items():
            images_of[label].append(image)
            collector.add_image(image, collector.root / image)
        same = {label: tuple(images) for label, images in images_of.items()}
        found = _drawn(labels, same) if part == "train" else _listed(collector, queries, labels, same)
        collector.queries[part], collector.galleries[part] = tuple(found), tuple(labels)


def _labels(collector: Collector, part: str, files: list[Path]) -> dict[str, str]:
    """Read the label of each image."""
    labels, damaged = {}, []
    for path in files:
        for number, line in enumerate(collector.read_lines(part, path), 1):
            fields = line.split("\t")
            if len(fields) < 3:
                damaged.append(f"{path.name}, line {number}")
            else:
                labels[fields[0]] = strip_blanks(fields[2])
    what, advice = "line that is not path, score, label", "compare it with the published file"
    collector.add_finding(find_level(part), part, what, damaged, advice)
    return labels


def _listed(
    collector: Collector, file: Path, labels: dict[str, str], same: dict[str, tuple[str, ...]]
) -> list[CirTriplet]:
    """Read the queries of the test split."""

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

    found = list(collector.make_queries("test", file, collector.read_lines("test", file), triplet))
    alike_pairs = [query.id for query in found if query.reference in query.relevant]
    advice = "nothing is to be changed in it"
    collector.add_finding("odd", "test", "query whose two images have one label", alike_pairs, advice)
    return found


def _drawn(labels: dict[str, str], same: dict[str, tuple[str, ...]]) -> Iterator[CirTriplet]:
    """Draw the training pairs, the same ones each time."""
    one_word_less: dict[tuple[str, ...], list[str]] = defaultdict(list)
    shorter = {label: _shorten(label) for label in same}
    for label, parents in shorter.items():
        for parent in parents:
            one_word_less[parent].append(label)
    near = {
        label: sorted({other for parent in parents for other in one_word_less[parent]} - {label})
        for label, parents in shorter.items()
    }
    for image, label in labels.items():
        choice = Random(image)  # noqa: S311 - not for security
        for other in choice.sample(near[label], min(DRAWN, len(near[label]))):
            target = choice.choice(same[other])
            text = make_replacement_text(label, other)
            yield CirTriplet(f"{image} to {other}", image, (text,), target, same[other])


def _shorten(label: str) -> set[tuple[str, ...]]:
    """Return the words of a label with one of them left out, in every way."""
    words = label.split()
    return {(*words[:i], "", *words[i + 1 :]) for i in range(len(words))}


def make_replacement_text(source: str, target: str) -> str:
    """Make TIRG's text of the first word that only the source has and the first that only the target has.

    If all words of one are in the other, its last word is taken.
    """
    before, after = source.split(), target.split()
    old = next((word for word in before if word not in after), before[-1] if before else "")
    new = next((word for word in after if word not in before), after[-1] if after else "")
    return f"replace {old} with {new}"
