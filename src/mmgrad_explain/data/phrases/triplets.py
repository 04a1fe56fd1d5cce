"""Triplet sets of this package: a folder with ``triplets.jsonl``; the kind of a sample is the kind of its edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.data.phrases.dataset import PhraseSample
from mmgrad_explain.data.phrases.region import MaskFile, Region
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.data.phrases.collector import PhraseCollector


def read(collector: PhraseCollector) -> None:
    """Read the set; ``split`` is the number of a fold."""
    fold = None
    if collector.split is not None:
        if not collector.split.isdecimal():
            raise InputError(f"split: a triplet set has folds, such as 0, not {collector.split!r}")
        fold = int(collector.split)
    collector.need_folder()
    for triplet in read_triplets(collector.root, fold=fold):
        on_target = triplet.mask_object_in == "target"
        collector.add(
            PhraseSample(
                id=triplet.id,
                text=triplet.text,
                kind=triplet.edit,
                image=triplet.folder / triplet.reference,
                image_name=triplet.target if on_target else triplet.reference,
                region=Region((MaskFile(triplet.folder / triplet.mask),)),
                target=triplet.folder / triplet.target,
                on_target=on_target,
            )
        )
    collector.description = "texts and masks of edits" if fold is None else f"texts and masks of edits, fold {fold}"
