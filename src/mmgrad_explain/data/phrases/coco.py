"""COCO's format: one JSON file with images, annotations and categories, whose texts are phrases or class names.

An annotation with a text of its own (one of :data:`TEXT_KEYS`) is about that text. Without such annotations the texts
are the names of the categories: each class of an image is one sample, and all of its objects are its region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.phrases.collector import region_of, shape_of, size_of
from mmgrad_explain.data.phrases.dataset import PhraseSample
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mmgrad_explain.data.phrases.collector import PhraseCollector
    from mmgrad_explain.data.phrases.region import Shape

TEXT_KEYS = ("phrase", "phrases", "caption", "captions", "text", "expression", "expressions", "sentence", "sentences")
"""Where an annotation may have its text: a string, a list of strings, or of mappings with ``sent`` or ``raw``."""
_BESIDE = ("images", "val2017", "train2017", "val2014", "train2014")


def read(collector: PhraseCollector) -> None:
    """Read the file."""
    if collector.split is not None:
        raise InputError("split: a COCO file is one split; name another file instead")
    file = collector.root
    data = collector.read_json(file)
    missing = [key for key in ("images", "annotations") if not isinstance(_get(data, key), list)]
    if missing:
        raise InputError(f"{file} is not a COCO annotation file: it has no list {' or '.join(missing)}")
    named = [entry for entry in data.get("categories") or [] if _get(entry, "name") is not None and "id" in entry]
    classes = {entry["id"]: str(entry["name"]) for entry in named}
    entries = {entry["id"]: entry for entry in data["images"] if _get(entry, "id") is not None}
    has_phrases = any(list(texts_of(annotation)) for annotation in data["annotations"])
    shapes: dict[tuple[Any, str], list[Shape]] = {}
    kinds: dict[tuple[Any, str], str] = {}
    for number, annotation in enumerate(data["annotations"]):
        name = _get(annotation, "id")
        name = f"no. {number + 1}" if name is None else name
        image, kind = _get(annotation, "image_id"), classes.get(_get(annotation, "category_id"), "")
        texts = list(texts_of(annotation)) if has_phrases else [kind] if kind else []
        if image not in entries:
            collector.add_problem("annotation of an unknown image", name)
            continue
        if not texts:
            collector.add_problem("annotation without a phrase" if has_phrases else "annotation without a class", name)
            continue
        try:
            shape = shape_of(annotation)
        except InputError as error:
            collector.add_problem(f"annotation left out, since {error}", name)
            continue
        for text in texts:
            shapes.setdefault((image, text), []).append(shape)
            kinds.setdefault((image, text), kind or "phrase")
    folders = _folders(file)
    for (key, text), found in shapes.items():
        file_name = _get(entries[key], "file_name")
        place = collector.find_image(file_name, folders) if isinstance(file_name, str) else None
        if place is None:
            collector.add_problem("image without a file name that can be used", key)
            continue
        region = region_of(found, size_of(entries[key]))
        collector.add(PhraseSample(f"{key}/{text}", text, kinds[key, text], place, str(file_name), region))
    what = "phrases of annotations" if has_phrases else "class names"
    collector.description = f"{what}, {file.name}"


def texts_of(annotation: Any) -> Iterator[str]:
    """List the texts of an annotation's own, each once."""
    found: dict[str, None] = {}
    for key in TEXT_KEYS:
        values = _get(annotation, key)
        for value in values if isinstance(values, list) else [values]:
            text = value if isinstance(value, str) else _get(value, "sent") or _get(value, "raw")
            if isinstance(text, str) and text.strip():
                found[" ".join(text.split())] = None
    yield from found


def _folders(file: Path) -> list[Path]:
    """List the folders where the images of an annotation file may be: ``val2017`` for ``instances_val2017.json``."""
    named = file.stem.rpartition("_")[2]
    places = [file.parent, file.parent.parent]
    return [place / name for place in places for name in (named, *_BESIDE)] + places


def _get(entry: object, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None
