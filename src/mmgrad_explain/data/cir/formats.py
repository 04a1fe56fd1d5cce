"""The data sets of composed image retrieval that can be read, by name.

To add one: write ``data/cir/NAME.py`` with a function ``read`` of a
:class:`~mmgrad_explain.data.cir.collector.Collector`, and an entry of :data:`FORMATS`. Everything else asks this table;
readers are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from mmgrad_explain.data.cir.dataset import CirSet


class Format(NamedTuple):
    """How a data set is laid out, and how it is evaluated.

    Attributes:
        layout: What its folder holds, in words.
        splits: Its splits; empty where the files say which there are.
        evaluated: The split whose targets are public; None for all that there are.
        other_names: What else people call the splits.
        categories: Its categories, each ranked by itself; empty where it has none.
        protocol: A key of :data:`mmgrad_explain.metrics.protocols.PROTOCOLS`.
    """

    layout: str
    splits: tuple[str, ...] = ()
    evaluated: str | None = None
    other_names: Mapping[str, str] = {}
    categories: tuple[str, ...] = ()
    protocol: str = "jsonl"


FORMATS = {
    "cirr": Format(
        "captions/ and image_splits/, or both in cirr/; images in img_raw/ or in train/, dev/, test1/",
        ("train", "val", "test1"), "val", {"dev": "val", "test": "test1"}, protocol="cirr",
    ),
    "fashioniq": Format(
        "captions/ (or json/), image_splits/, images/",
        ("train", "val", "test"), "val", {"dev": "val"}, ("dress", "shirt", "toptee"), protocol="fashioniq",
    ),
    "shoes": Format(
        "relative_captions_shoes.json with train_im_names.txt, eval_im_names.txt (or in dataset/); womens_*/",
        ("train", "eval"), "eval", {"val": "eval", "dev": "eval", "test": "eval"}, protocol="shoes",
    ),
    "circo": Format(
        "annotations/ and COCO2017_unlabeled/",
        ("val", "test"), "val", {"dev": "val"}, protocol="circo",
    ),
    "lasco": Format(
        "lasco_val.json and lasco_val_corpus.json, or in downloads/; train2014/ and val2014/",
        ("train", "val"), "val", {"dev": "val"}, protocol="lasco",
    ),
    "fashion200k": Format(
        "labels/, test_queries.txt, women/",
        ("train", "test"), "test", protocol="fashion200k",
    ),
    "jsonl": Format('triplets.jsonl: one object a line with "reference", "text" and "target"'),
}  # fmt: skip
"""The formats by name, which is also the name of the reader's module."""


def read_cir(
    name: str, root: str | os.PathLike[str], splits: Sequence[str] = (), categories: Sequence[str] = ()
) -> CirSet:
    """Read a data set of composed image retrieval; image files are looked for, not opened.

    Args:
        name: A key of :data:`FORMATS`.
        root: Its folder. For ``"jsonl"`` also the file itself, if it is called ``triplets.jsonl``.
        splits: Which splits, by any of their names; all that are there when empty.
        categories: Which categories, where the format has any; all when empty.

    Returns:
        Everything that could be read, and findings about the rest.

    Raises:
        InputError: There is no such format, folder, split or category, or the folder holds nothing of this data set.
    """
    from mmgrad_explain.data.cir.collector import Collector

    if name not in FORMATS:
        raise InputError(f"no data set format {name!r}: {did_you_mean(name, FORMATS)}there are {', '.join(FORMATS)}")
    folder, known = Path(root).expanduser(), FORMATS[name]
    if name == "jsonl" and folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{root} is not a folder: give the one that holds {name}")
    wanted = [known.other_names.get(split, split) for split in splits]
    for split in wanted:
        if known.splits and split not in known.splits:
            raise InputError(f"{name} has no split {split!r}: it has {', '.join(known.splits)}")
    for category in categories:
        if category not in known.categories:
            has = f"it has {', '.join(known.categories)}" if known.categories else "it has no categories"
            raise InputError(f"{name} has no category {category!r}: {has}")
    collector = Collector(
        name, folder, wanted or known.splits, asked=bool(splits), categories=categories or known.categories
    )
    import_module(f"mmgrad_explain.data.cir.{name}").read(collector)
    if not collector.queries:
        files = ", ".join(collector.shorten(file) for file in collector.absent.values())
        reason = f"there is no {files}" if files else "no query is in its files"
        raise InputError(f"{folder} holds nothing of {name}: {reason}")
    return collector.make_set()
