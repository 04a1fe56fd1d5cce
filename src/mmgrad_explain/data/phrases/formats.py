"""The data sets of images with phrases and regions that can be read, by name.

To add one: write ``data/phrases/NAME.py`` with a function ``read`` of a
:class:`~mmgrad_explain.data.phrases.collector.PhraseCollector`, and an entry of :data:`PHRASE_FORMATS`. Everything else
asks this table; readers are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.data.set_files import TRIPLETS_FILE
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import os

    from mmgrad_explain.data.phrases.dataset import PhraseSet


class PhraseFormat(NamedTuple):
    """How a data set is laid out.

    Attributes:
        layout: What its root holds, in words.
        splits: Its splits, in words; empty where it has none.
        marks: Files by which it is found, as patterns below the root.
    """

    layout: str
    splits: str = ""
    marks: tuple[str, ...] = ()


PHRASE_FORMATS = {
    "triplets": PhraseFormat("triplets.jsonl and its images (data edits, data scenes)", "a fold", (TRIPLETS_FILE,)),
    "coco": PhraseFormat("the JSON file itself; phrases of annotations, else class names; masks, else boxes"),
    "refcoco": PhraseFormat(
        "refs(unc).p (or umd, google) and instances.json, of RefCOCO, RefCOCO+ or RefCOCOg; images of train2014",
        "val (default), testA, testB, test, train", ("refs(*).p",),
    ),
    "flickr30k": PhraseFormat(
        "Sentences/, Annotations/, val.txt, test.txt; images in flickr30k-images/",
        "val (default), test, train", ("Annotations", "Sentences"),
    ),
    "openimages": PhraseFormat(
        "validation-annotations-bbox.csv, class-descriptions-boxable.csv; images in validation/",
        "validation (default), test, train", ("*-annotations-bbox.csv", "*/*-annotations-bbox.csv"),
    ),
}  # fmt: skip
"""The formats by name, which is also the name of the reader's module."""


def find_format(root: str | os.PathLike[str]) -> str:
    """Find the format of a folder or file by what it holds.

    Raises:
        InputError: Nothing is there, or it is none of these formats.
    """
    path = Path(root).expanduser()
    if path.is_file() and path.suffix.lower() == ".json":
        return "coco"
    if path.is_file() and path.name == TRIPLETS_FILE:
        return "triplets"
    if not path.is_dir():
        raise InputError(f"{root} is not there: name a folder or a JSON file in COCO's format")
    found = [
        name
        for name, known in PHRASE_FORMATS.items()
        if known.marks
        and (all if name == "flickr30k" else any)(next(path.glob(mark), None) is not None for mark in known.marks)
    ]
    if len(found) != 1:
        what = f"may be {' or '.join(found)}" if found else "is none of the formats that are known"
        raise InputError(f"{root} {what}: write NAME:ROOT, with NAME one of {', '.join(PHRASE_FORMATS)}")
    return found[0]


def read_phrases(
    root: str | os.PathLike[str],
    name: str | None = None,
    *,
    split: str | None = None,
    images: str | os.PathLike[str] | None = None,
) -> PhraseSet:
    """Read a data set of images with phrases and regions; images are looked for, not opened.

    Args:
        root: Its folder; of COCO's format the JSON file.
        name: A key of :data:`PHRASE_FORMATS`; None finds it by what the root holds.
        split: Which split; None takes the usual one.
        images: The folder of the images, where it is not at a usual place.

    Returns:
        Everything that could be read, and the problems of the rest.

    Raises:
        InputError: There is no such format, folder, file or split, or nothing in it can be used.
    """
    from mmgrad_explain.data.phrases.collector import PhraseCollector

    if name is not None and name not in PHRASE_FORMATS:
        raise InputError(
            f"no format {name!r}: {did_you_mean(name, PHRASE_FORMATS)}there are {', '.join(PHRASE_FORMATS)}"
        )
    name = name or find_format(root)
    path = Path(root).expanduser()
    if name == "triplets" and path.is_file():
        path = path.parent
    folder = None if images is None else Path(images).expanduser()
    if folder is not None and not folder.is_dir():
        raise InputError(f"images: {images} is not a folder")
    collector = PhraseCollector(name, path, split=split, images=folder)
    with reading(f"{root} cannot be read as {name}"):
        import_module(f"mmgrad_explain.data.phrases.{name}").read(collector)
    return collector.make_set()
