"""Open Images as published: ``validation-annotations-bbox.csv`` (test, train), ``class-descriptions-boxable.csv``.

Each class of an image is a sample, by its name; all of its boxes are its region (Kuznetsova et al., arXiv 1811.00982).
Boxes are shares of the image's sides.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from mmgrad_explain._system.user_files import split_lines
from mmgrad_explain.data.phrases.collector import region_of
from mmgrad_explain.data.phrases.dataset import PhraseSample
from mmgrad_explain.data.phrases.region import Box
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.phrases.collector import PhraseCollector

SPLITS = ("validation", "test", "train")
_NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_CLASSES = ("class-descriptions-boxable.csv", "oidv7-class-descriptions-boxable.csv", "oidv6-class-descriptions.csv")


def read(collector: PhraseCollector) -> None:
    """Read one split; the first of validation, test and train that is there unless another is named."""
    collector.need_folder()
    split, file = _box_file(collector)
    classes = _class_names(collector)
    rows = csv.DictReader(split_lines(collector.read_text(file)))
    missing = [key for key in _NEEDED if key not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{file} is not a file of boxes of Open Images: it has no column {', '.join(missing)}")
    boxes: dict[tuple[str, str], list[Box]] = {}
    for number, row in enumerate(rows, 2):
        try:
            box = Box.from_values([row["XMin"], row["YMin"], row["XMax"], row["YMax"]], shares=True)
        except InputError as error:
            collector.add_problem(f"row left out, since {error}", f"line {number}")
            continue
        boxes.setdefault((str(row["ImageID"]), str(row["LabelName"])), []).append(box)
    below = (split, f"images/{split}", f"data/{split}", f"{split}/data", "images", ".")
    folders = [collector.root / name for name in below]
    for (image, label), found in boxes.items():
        if label not in classes:
            collector.add_problem("box of a class without a name", label)
            continue
        place = collector.find_image(image, folders)
        if place is not None:
            name = classes[label]
            region = region_of(found)
            collector.add(PhraseSample(f"{image}/{label}", name.lower(), name, place, image, region))
    collector.description = f"boxes of classes, {file.name}"


def _box_file(collector: PhraseCollector) -> tuple[str, Path]:
    places = [collector.root, collector.root / "annotations", collector.root / "metadata", collector.root / "labels"]
    found: dict[str, Path] = {}
    for split in SPLITS:
        for name in (f"{split}-annotations-bbox.csv", f"oidv6-{split}-annotations-bbox.csv"):
            for place in places:
                if (place / name).is_file():
                    found.setdefault(split, place / name)
    wanted = {"val": "validation"}.get(collector.split or "", collector.split)
    if wanted is None and found:
        return next(iter(found.items()))
    if wanted not in found:
        there = ", ".join(found) or "none"
        raise InputError(
            f"{collector.root} holds no boxes of Open Images ({wanted or 'validation'}-annotations-bbox.csv); splits "
            f"that are there: {there}"
        )
    return wanted, found[wanted]


def _class_names(collector: PhraseCollector) -> dict[str, str]:
    """Read the names of classes: label and name in a row, with or without a head."""
    folders = [collector.root, collector.root / "annotations", collector.root / "metadata"]
    file = next((place / name for place in folders for name in _CLASSES if (place / name).is_file()), None)
    if file is None:
        raise InputError(f"{collector.root} holds no {_CLASSES[0]}, which has the names of the classes")
    rows = csv.reader(split_lines(collector.read_text(file)))
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[0] != "LabelName"}
