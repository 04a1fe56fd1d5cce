"""Readers of composed-image-retrieval data sets, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain.data.cir.circo import read_circo
from mmgrad_explain.data.cir.cirr import read_cirr
from mmgrad_explain.data.cir.collector import Collector
from mmgrad_explain.data.cir.fashion200k import read_fashion200k
from mmgrad_explain.data.cir.fashioniq import CATEGORIES, read_fashioniq
from mmgrad_explain.data.cir.jsonl import read_jsonl
from mmgrad_explain.data.cir.lasco import read_lasco
from mmgrad_explain.data.cir.shoes import read_shoes
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from mmgrad_explain.data.cir.records import CirSet


class Format(NamedTuple):
    """How a data set is read.

    Attributes:
        read: The reader.
        splits: Its splits.
        other_names: What else people call them.
        categories: Its categories, each ranked by itself; empty where it has none.
    """

    read: Callable[[Collector], None]
    splits: tuple[str, ...]
    other_names: Mapping[str, str]
    categories: tuple[str, ...] = ()


FORMATS = {
    "cirr": Format(read_cirr, ("train", "val", "test1"), {"dev": "val", "test": "test1"}),
    "fashioniq": Format(read_fashioniq, ("train", "val", "test"), {"dev": "val"}, CATEGORIES),
    "shoes": Format(read_shoes, ("train", "eval"), {"val": "eval", "dev": "eval", "test": "eval"}),
    "circo": Format(read_circo, ("val", "test"), {"dev": "val"}),
    "lasco": Format(read_lasco, ("train", "val"), {"dev": "val"}),
    "fashion200k": Format(read_fashion200k, ("test",), {}),
    "jsonl": Format(read_jsonl, (), {}),
}
"""The formats by name."""


def read_cir(
    name: str, root: str | os.PathLike[str], splits: Sequence[str] = (), categories: Sequence[str] = ()
) -> CirSet:
    """Read a composed-retrieval data set; pictures are only looked for, not opened.

    Args:
        name: A key of :data:`FORMATS`.
        root: Its folder. For ``"jsonl"`` the file itself will do, if it is called ``triplets.jsonl``.
        splits: Which splits, under any name that people give them; all that are there when empty.
        categories: Which categories of FashionIQ (``mmgrad_explain.data.cir.fashioniq.CATEGORIES``); all when
            empty.

    Returns:
        Everything that could be read, and findings about the rest.

    Raises:
        InputError: There is no such format, folder, split or category, or the folder holds nothing of this data set.
    """
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
    known.read(collector)
    if not collector.queries:
        files = ", ".join(collector.short(file) for file in collector.absent.values())
        reason = f"there is no {files}" if files else "no query is in its files"
        raise InputError(f"{folder} holds nothing of {name}: {reason}")
    return collector.finish()
