"""A set of composed retrieval made of photographs with pixel labels, in FashionIQ's layout and as records with masks.

A query is two different photographs whose labelled garments differ as its two captions say: "has a green skirt", "make
the skirt green". Of the photographs that are as asked the target is the one whose garments and colours are otherwise
most like those of the reference, as published sets pair similar images; what else differs, the captions do not say. The
labels give what published sets lack: where in both images that garment is.

    captions/cap.dress.{train,val}.json, image_splits/split.dress.{train,val}.json, images/NAME.jpg
    triplets.jsonl, gallery.{train,val}.txt, masks/NAME.LABEL.png

Both describe the same queries in the same order. The category is called dress because the layout knows no others.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain.training.sources.photo_facts import FactNumbers
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, share_of_name
from mmgrad_explain.training.sources.photo_pairs import PairDrawer, find_middles
from mmgrad_explain.training.sources.photo_texts import PhotoTexts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mmgrad_explain.training.sources.photo_pairs import Pair
    from photographs.edited import Labelled

CATEGORY = "dress"
_TRIES = 5  # until a second caption has other words than the first


def write_set(out: Path, photographs: Labelled, queries: int, seed: int, *, inner: float = 0.0) -> dict[str, int]:
    """Write the set.

    Args:
        out: An empty folder.
        photographs: Folders of photographs with labels, and which of them are held out: these are the split ``val``.
        queries: Differences that are drawn for each photograph; some are not found.
        seed: Equal seeds give equal sets.
        inner: Leave out the photographs that are held out, and hold out this share of the others: a set to choose
            options on.

    Returns:
        The number of queries of each split.
    """
    records: list[dict[str, Any]] = []
    for folder in ("captions", "image_splits", "images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    first, *more = photographs.folders
    found = {}
    for split in ("train", "val"):
        photos = PhotoFolder(
            first, more=more, twins=photographs.twins, holdout=photographs.settings.holdout,
            held_out=split == "val" and not inner,
        )  # fmt: skip
        if inner:
            photos.files = [
                file for file in photos.files if (share_of_name(f"inner {file.photo.stem}") < inner) == (split == "val")
            ]
        names = [file.photo.stem for file in photos.files]
        for number, name in enumerate(names):
            Image.fromarray(photos[number][0]).save(out / "images" / f"{name}.jpg", quality=95)
        own = list(_draw(out, photos, names, photographs.settings, queries, seed))
        found[split] = len(own)
        entries = [
            {"target": names[pair.other], "candidate": names[number], "captions": captions}
            for number, pair, captions, _ in own
        ]
        _write(out / "captions" / f"cap.{CATEGORY}.{split}.json", entries)
        _write(out / "image_splits" / f"split.{CATEGORY}.{split}.json", names)
        (out / f"gallery.{split}.txt").write_text("".join(f"images/{name}.jpg\n" for name in names))
        records += [
            {
                "split": split, "reference": f"images/{names[number]}.jpg", "target": f"images/{names[pair.other]}.jpg",
                "captions": captions, **masks,
            }
            for number, pair, captions, masks in own
        ]  # fmt: skip
    (out / "triplets.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return found


def _draw(
    out: Path, photos: PhotoFolder, names: list[str], settings: Any, queries: int, seed: int
) -> Iterator[tuple[int, Pair, list[str], dict[str, str]]]:
    """Draw the queries of a split: number of the reference, difference, two captions, files of the masks."""
    numbers, texts = FactNumbers(photos.names, settings.alike), PhotoTexts(photos.names, settings.synonyms, 0.5)
    table = np.stack([numbers.of_labels(*photos[number]) for number in range(len(photos))])
    heights: list[list[float]] = [[] for _ in photos.names]
    for number in range(len(photos)):
        for label, middle in find_middles(photos[number][1]):
            heights[label].append(middle)
    middles = np.array([np.median(of) if of else np.nan for of in heights])
    often = (table[:, : len(photos.names)] == 1).sum(0) >= settings.least
    editable = often & np.array([name not in {"null", *settings.exclude} for name in photos.names])
    drawer = PairDrawer(numbers, table, middles, editable, settings.pair_kinds)
    rng = np.random.default_rng([seed, len(photos)])
    for number in range(len(photos)):
        shown = np.flatnonzero((table[number, : len(photos.names)] == 1) & editable).tolist()
        targets = set()
        for _ in range(queries):
            pair = drawer.draw(rng, number, table[number], shown)
            pair = None if pair is None else _with_nearest(pair, table, number, targets)
            if pair is None:
                continue
            targets.add(pair.other)
            said = [texts.pair(rng, pair.kind, pair.gone, pair.come, pair.colour, shown) for _ in range(_TRIES)]
            captions = [said[0], next((one for one in said if one != said[0]), said[0])]
            masks = {}
            for key, photo, label in (("mask", number, pair.gone), ("target_mask", pair.other, pair.come)):
                if label is not None:
                    masks[key] = _write_mask(out, photos[photo][1] == label, f"{names[photo]}.{label}")
            yield number, pair, captions, masks


def _with_nearest(pair: Pair, table: Any, number: int, taken: set[int]) -> Pair | None:
    """Take the photograph most like the reference of those that are as asked; None if all are taken."""
    asked = pair.asks != -1
    fitting = np.flatnonzero((table[:, asked] == pair.asks[asked]).all(1))
    fitting = np.setdiff1d(fitting, [number, *taken])
    if not len(fitting):
        return None
    same = ((table[fitting] == 1) & (table[number] == 1))[:, ~asked].sum(1)
    either = ((table[fitting] == 1) | (table[number] == 1))[:, ~asked].sum(1)
    return replace(pair, other=int(fitting[np.argmax(same / np.maximum(either, 1))]))


def _write_mask(out: Path, mask: Any, name: str) -> str:
    file = out / "masks" / f"{name}.png"
    if not file.exists():
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(file)
    return f"masks/{name}.png"


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))
