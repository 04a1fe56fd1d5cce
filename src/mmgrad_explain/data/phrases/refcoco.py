"""RefCOCO, RefCOCO+ and RefCOCOg as published: ``refs(unc).p`` or ``refs(umd).p``, and ``instances.json``.

Each sentence of a referred object is a sample; the object's segmentation is its region (Kazemzadeh et al., EMNLP 2014;
Yu et al., arXiv 1608.00272). The pickle is read without running anything in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.phrases.collector import region_of, shape_of, size_of
from mmgrad_explain.data.phrases.dataset import PhraseSample
from mmgrad_explain.data.phrases.plain_pickle import read_plain_pickle
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.data.phrases.collector import PhraseCollector

_PREFERRED = ("refs(unc).p", "refs(umd).p", "refs(google).p")


def read(collector: PhraseCollector) -> None:
    """Read one split; ``val`` unless another is named."""
    collector.need_folder()
    file = _refs_file(collector.root)
    refs = read_plain_pickle(file)
    if not isinstance(refs, list) or not refs:
        raise InputError(f"{file} is not a list of expressions")
    split = collector.split or "val"
    splits = sorted({str(ref.get("split")) for ref in refs if isinstance(ref, dict)})
    if split not in splits:
        raise InputError(f"split: {file.name} has no {split!r}: it has {', '.join(splits)}")
    data = collector.read_json(collector.root / "instances.json")
    annotations, images, classes = (
        {entry["id"]: entry for entry in _list(data, key) if isinstance(entry, dict) and "id" in entry}
        for key in ("annotations", "images", "categories")
    )
    folders = _folders(collector.root)
    for number, ref in enumerate(refs):
        if not isinstance(ref, dict) or ref.get("split") != split:
            continue
        name = ref.get("ref_id", f"no. {number + 1}")
        annotation = annotations.get(ref.get("ann_id"))
        if annotation is None:
            collector.add_problem("expression of an object that is not in instances.json", name)
            continue
        image = images.get(annotation.get("image_id"))
        if image is None or not isinstance(image.get("file_name"), str):
            collector.add_problem("expression of an image that is not in instances.json", name)
            continue
        place = collector.find_image(image["file_name"], folders)
        try:
            region = region_of([shape_of(annotation)], size_of(image))
        except InputError as error:
            collector.add_problem(f"object left out, since {error}", name)
            continue
        if place is None:
            continue
        kind = str(classes.get(annotation.get("category_id"), {}).get("name", "object"))
        for text, sentence in _sentences(collector, ref, name):
            collector.add(PhraseSample(f"{name}/{sentence}", text, kind, place, image["file_name"], region))
    collector.description = f"{file.name}, split {split}"


def _refs_file(root: Path) -> Path:
    found = sorted(path.name for path in root.glob("refs(*).p"))
    if not found:
        raise InputError(f"{root} holds no refs(unc).p, refs(umd).p or refs(google).p")
    return root / next((name for name in _PREFERRED if name in found), found[0])


def _sentences(collector: PhraseCollector, ref: dict[str, Any], name: object) -> list[tuple[str, object]]:
    """List the sentences of an expression, with their numbers."""
    found = []
    sentences = ref.get("sentences")
    for place, sentence in enumerate(sentences if isinstance(sentences, list) else []):
        text = (sentence.get("sent") or sentence.get("raw")) if isinstance(sentence, dict) else None
        if isinstance(text, str):
            found.append((" ".join(text.split()), sentence.get("sent_id", place)))
    if not found:
        collector.add_problem("expression without a sentence", name)
    return found


def _folders(root: Path) -> list[Path]:
    """List the folders where the images of COCO's train2014 may be."""
    below = ("images/mscoco/images/train2014", "images/train2014", "train2014", "images/mscoco/train2014", "images")
    return [place / name for place in (root, root.parent, root.parent.parent) for name in below]


def _list(data: Any, key: str) -> list[Any]:
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise InputError(f"instances.json has no list {key}: is it the one of this data set?")
    return found
