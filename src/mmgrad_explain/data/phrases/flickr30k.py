"""Flickr30k Entities as published: ``Sentences/ID.txt``, ``Annotations/ID.xml``, the lists ``val.txt``, ``test.txt``.

Each phrase of a caption with a box is a sample; all boxes of its entity are its region (Plummer et al., arXiv
1505.04870). Phrases without a box (scenes, and what is not visible) are counted and left out, as in the
authors' protocol.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from mmgrad_explain._system.user_files import reading, split_lines, strip_blanks
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.data.phrases.collector import region_of
from mmgrad_explain.data.phrases.dataset import PhraseSample
from mmgrad_explain.data.phrases.region import Box
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.data.phrases.collector import PhraseCollector

_PHRASE = re.compile(r"\[/EN#(\d+)/(\S+) ([^\]]*)\]")
_FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "Images")


def read(collector: PhraseCollector) -> None:
    """Read one split: that of ``val.txt`` unless another is named, or all captions where there is no list."""
    collector.need_folder()
    split = collector.split or ("val" if (collector.root / "val.txt").is_file() else None)
    names = _names(collector, split)
    places = [folder / name for folder in (collector.root, collector.root.parent) for name in _FOLDERS]
    for name in names:
        captions = split_lines(collector.read_text(collector.root / "Sentences" / f"{name}.txt"))
        boxes, size = _boxes(collector, name)
        image = collector.find_image(name, places)
        if image is None:
            continue
        for number, caption in enumerate(captions):
            for place, match in enumerate(_PHRASE.finditer(caption)):
                entity, kinds, words = match.groups()
                kind = kinds.split("/")[0]
                if entity not in boxes:
                    reason = "not visible" if kind == "notvisual" else "a scene" if kind == "scene" else "without a box"
                    collector.add_problem(f"phrase left out, since it is {reason}", f"{name}: {words}")
                    continue
                sample = f"{name}/{number}/{place}"
                text = " ".join(words.split())
                collector.add(PhraseSample(sample, text, kind, image, name, region_of(boxes[entity], size)))
    collector.description = f"phrases with boxes, {'all captions' if split is None else f'split {split}'}"


def _names(collector: PhraseCollector, split: str | None) -> list[str]:
    if split is None:
        folder = collector.root / "Sentences"
        names = sorted(path.stem for path in folder.glob("*.txt")) if folder.is_dir() else []
        if not names:
            raise InputError(f"{collector.root} holds no Sentences/*.txt")
        return names
    if leaves_folder(f"{split}.txt") or not (collector.root / f"{split}.txt").is_file():
        there = sorted(one for one in ("train", "val", "test") if (collector.root / f"{one}.txt").is_file())
        raise InputError(f"split: there is no {split}.txt in {collector.root}; there are {', '.join(there) or 'none'}")
    names = [strip_blanks(line) for line in split_lines(collector.read_text(collector.root / f"{split}.txt"))]
    outside = [name for name in names if leaves_folder(name)]
    for name in outside:
        collector.add_problem("image whose path leads out of the folder", name)
    return [name for name in names if name and name not in outside]


def _boxes(collector: PhraseCollector, name: str) -> tuple[dict[str, list[Box]], tuple[int, int] | None]:
    """Read the boxes of each entity, and height and width of the image."""
    file = collector.root / "Annotations" / f"{name}.xml"
    text = collector.read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{file} declares entities, which an annotation needs not: it is not read")
    with reading(f"{file} is not XML, or breaks off"):
        tree = ET.fromstring(text)  # noqa: S314  (see above)
    boxes: dict[str, list[Box]] = {}
    for found in tree.findall("object"):
        corners = found.find("bndbox")
        if corners is None:
            continue
        left, top, right, bottom = (_number(corners, key) for key in ("xmin", "ymin", "xmax", "ymax"))
        try:  # pixels are counted from 1, and the last one belongs to the box
            box = Box.from_values([left and left - 1, top and top - 1, right, bottom])
        except InputError as error:
            collector.add_problem(f"box left out, since {error}", name)
            continue
        for entity in found.findall("name"):
            boxes.setdefault((entity.text or "").strip(), []).append(box)
    size = tree.find("size")
    sides = (None, None) if size is None else (_number(size, "height"), _number(size, "width"))
    return boxes, None if sides[0] is None or sides[1] is None else (int(sides[0]), int(sides[1]))


def _number(element: Any, key: str) -> float | None:
    try:
        return float(element.findtext(key, ""))
    except ValueError:
        return None
