"""Reads the boxes of a detector from its JSON file, and makes masks for texts that name their labels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.user_files import MOST_ANNOTATIONS, parse_json, quote, read_text, reading
from mmgrad_explain.data.pseudo_masks import PseudoMasks
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.grounding.targets import grounding_targets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "oxen": "ox",
    "people": "person", "teeth": "tooth", "women": "woman",
}  # fmt: skip


@dataclass(frozen=True)
class Detection:
    """One box ``(x0, y0, x1, y1)``, with the detector's score and label."""

    box: tuple[float, float, float, float]
    score: float
    label: str


@dataclass(frozen=True)
class Detections:
    """The boxes that a detector found in each image.

    Attributes:
        found: Image name to its boxes.
        sizes: Image name to ``(H, W)`` in pixels, where the file has it.
    """

    found: Mapping[str, tuple[Detection, ...]]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_detections(path: Path, annotations: Path | None = None) -> Detections:
    """Read a detector's JSON file.

    The format is one of three, found from the content:

    - COCO results: ``[{"image_id" or "file_name", "bbox": [x, y, w, h], "score", "category_id" or "label"}, ...]``,
      pixels. Names and labels of ids come from ``annotations``; an image without a name there goes by its id.
    - a COCO data set: ``{"images": [...], "annotations": [...], "categories": [...]}``; a box without score has 1.
    - plain: ``{"file.jpg": [[x0, y0, x1, y1, score, "label"], ...]}``.

    Args:
        path: The file.
        annotations: A COCO data set whose ``images`` and ``categories`` explain the ids in ``path``.

    Raises:
        InputError: A file cannot be read, an entry lacks something, or a box has no area; the entry is named.
    """
    content = _read(path)
    known = _read(annotations) if annotations is not None else content
    tables = known if isinstance(known, Mapping) else {}
    if isinstance(content, Mapping) and not isinstance(content.get("annotations"), list):
        return Detections({str(name): _plain(path, str(name), rows) for name, rows in content.items()})
    entries = content["annotations"] if isinstance(content, Mapping) else content
    if not isinstance(entries, list):
        raise InputError(f"{path} is neither a list of COCO results nor an object of boxes by image")
    names, sizes = _images(tables.get("images", []))
    labels = {one.get("id"): str(one.get("name")) for one in tables.get("categories", [])}
    found: dict[str, list[Detection]] = {name: [] for name in names.values()}
    for index, entry in enumerate(entries):
        name, detection = _coco(f"{path}, entry {index}", entry, names, labels)
        found.setdefault(name, []).append(detection)
    return Detections({name: tuple(boxes) for name, boxes in found.items()}, sizes)


def detection_masks(
    detections: Detections,
    files: Sequence[str],
    texts: Sequence[str],
    *,
    size: tuple[int, int],
    min_score: float = 0.3,
    units: str = "pixel",
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> PseudoMasks:
    """Draw the boxes whose label occurs in the text as a mask.

    A text names a label if it contains the label's words one after another, in any case, in singular or plural. If one
    label is part of another (``dog`` in ``hot dog``), the longer counts. All boxes of a named label count: ``"the left
    dog"`` marks every dog.

    Args:
        detections: From :func:`read_detections`.
        files: Name of each sample's image, as in the detections.
        texts: Text of each sample.
        size: ``(h, w)`` of the masks; each covers its whole image.
        min_score: Boxes below this score do not count.
        units: Of the boxes: ``"pixel"``, or ``"fraction"`` of the image.
        image_sizes: ``(H, W)`` of the images in pixels by name, where the detector's file lacks it.

    Returns:
        Soft masks (a cell is as bright as it is covered), and for each sample without one the reason.

    Raises:
        InputError: If lengths differ, an image's size is not known, or a box lies outside its image.
    """
    if len(files) != len(texts) or not files:
        raise InputError(f"give one text for each image, got {len(files)} images and {len(texts)} texts")
    sizes = {**detections.sizes, **(image_sizes or {})}
    boxes, reasons = [], []
    for file, text in zip(files, texts, strict=True):
        chosen, reason = _choose(detections, file, text, min_score)
        boxes.append([detection.box for detection in chosen])
        reasons.append(reason)
        if chosen and units == "pixel" and file not in sizes:
            raise InputError(f"image_sizes: the size (H, W) of {file!r} is needed for boxes in pixels")
    pixel_sizes = [sizes.get(file, (1, 1)) for file in files] if units == "pixel" else None
    masks, supervised = grounding_targets(size, boxes=boxes, units=units, image_size=pixel_sizes)
    return PseudoMasks(masks.to(torch.float32), supervised, tuple(reasons))


def named_labels(text: str, labels: Sequence[str]) -> list[str]:
    """Find the labels that a text names, in their order; see :func:`detection_masks`."""
    words = _words(text)
    spans = {label: _spans(words, _words(label)) for label in dict.fromkeys(labels)}
    every = [span for of_label in spans.values() for span in of_label]

    def is_longest(span: tuple[int, int]) -> bool:
        return not any(a <= span[0] and span[1] <= b and b - a > span[1] - span[0] for a, b in every)

    return [label for label, of_label in spans.items() if any(map(is_longest, of_label))]


def _choose(detections: Detections, file: str, text: str, min_score: float) -> tuple[list[Detection], str | None]:
    if file not in detections.found:
        hint = did_you_mean(file, detections.found)
        return [], f"the detector's file has no image {file!r}; {hint}".rstrip("; ")
    boxes = detections.found[file]
    if not boxes:
        return [], "the detector found nothing in the image"
    names = set(named_labels(text, [box.label for box in boxes]))
    named = [box for box in boxes if box.label in names]
    if not named:
        return [], "no label that was found is named in the text"
    chosen = [box for box in named if box.score >= min_score]
    return chosen, None if chosen else f"every box of a named label has a score below {min_score:g}"


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _spans(words: list[str], label: list[str]) -> list[tuple[int, int]]:
    length = len(label)
    return [
        (start, start + length)
        for start in range(len(words) - length + 1 if length else 0)
        if words[start : start + length - 1] == label[:-1]
        and _singulars(words[start + length - 1]) & _singulars(label[-1])
    ]


def _singulars(word: str) -> set[str]:
    """Return a word with the singulars that it may be the plural of."""
    found = {word, _IRREGULAR.get(word, word)}
    for ending, singulars in (("ies", ("y", "ie")), ("ves", ("f", "fe", "ve")), ("es", ("", "e")), ("s", ("",))):
        if word.endswith(ending) and not word.endswith("ss") and len(word) > len(ending) + 1:
            found |= {word.removesuffix(ending) + singular for singular in singulars}
            break
    return found


def _read(path: Path) -> Any:
    with reading(f"{path} cannot be read as JSON"):
        return parse_json(read_text(path, MOST_ANNOTATIONS), f"{path} cannot be read as JSON")


def _images(entries: Any) -> tuple[dict[Any, str], dict[str, tuple[int, int]]]:
    names = {one.get("id"): str(one.get("file_name", one.get("id"))) for one in entries}
    sizes = {
        names[one.get("id")]: (int(one["height"]), int(one["width"]))
        for one in entries
        if "height" in one and "width" in one
    }
    return names, sizes


def _coco(where: str, entry: Any, names: Mapping[Any, str], labels: Mapping[Any, str]) -> tuple[str, Detection]:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} must be an object, not {type(entry).__name__}")
    name = entry.get("file_name", names.get(entry.get("image_id"), entry.get("image_id")))
    if name is None:
        raise InputError(f"{where} has neither image_id nor file_name")
    label = entry.get("label", labels.get(entry.get("category_id")))
    if label is None:
        raise InputError(
            f"{where} has no label, and its category_id {quote(entry.get('category_id'))} is not explained: pass "
            "annotations=, a COCO file with categories"
        )
    x, y, width, height = _numbers(where, entry.get("bbox"), 4, "bbox must be [x, y, w, h]")
    return str(name), _detection(where, (x, y, x + width, y + height), entry.get("score", 1.0), label)


def _plain(path: Path, name: str, rows: Any) -> tuple[Detection, ...]:
    if not isinstance(rows, list):
        raise InputError(f"{path}, {name!r} must be a list of boxes [x0, y0, x1, y1, score, label]")
    made = []
    for index, row in enumerate(rows):
        where = f"{path}, {name!r}, box {index}"
        if not isinstance(row, list) or len(row) != 6:
            raise InputError(f"{where} must be [x0, y0, x1, y1, score, label], got {quote(row)}")
        x0, y0, x1, y1 = _numbers(where, row[:4], 4, "must be [x0, y0, x1, y1, score, label]")
        made.append(_detection(where, (x0, y0, x1, y1), row[4], row[5]))
    return tuple(made)


def _detection(where: str, box: tuple[float, float, float, float], score: Any, label: Any) -> Detection:
    (value,) = _numbers(where, [score], 1, "score must be a number")
    if not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(f"{where} is a box without area: {list(box)}")
    return Detection(box, value, str(label))


def _numbers(where: str, values: Any, count: int, what: str) -> list[float]:
    good = isinstance(values, list) and len(values) == count
    if not good or any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        raise InputError(f"{where}: {what}, got {quote(values)}")
    return [float(value) for value in values]
