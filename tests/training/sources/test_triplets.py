"""Folders of triplets as a source."""

import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources import triplets as triplet_source
from mmgrad_explain.training.sources.triplets import TripletSource, TripletSourceOptions


def test_triplets(triplet_folder):
    source = TripletSource(triplet_folder, 32, TripletSourceOptions(pictures=2, edits=2, holdout=0.0, flip=0.0))
    assert len(source) == 6
    assert set(source.vocabulary) == {"make", "the", "left", "bag", "red", "coat", "star"}
    assert source.label_classes == {}
    batch = source.batch(0, 0)
    assert batch.references.shape == (2, 32, 32, 3)
    assert batch.picture.tolist() == [0, 0, 1, 1]
    assert batch.partner.tolist() == [1, 0, 3, 2]
    changed = (batch.targets != batch.references[batch.picture]).any(-1)
    assert (changed & batch.reference_masks).sum() > 0.9 * batch.reference_masks.sum()
    assert batch.supervised.all()
    assert np.array_equal(source.batch(0, 0).targets, batch.targets)
    assert not np.array_equal(source.batch(0, 1).references, batch.references)


def test_triplets_are_mirrored_as_one_but_not_where_sides_are_named(triplet_folder):
    plain, mirrored = (
        TripletSource(triplet_folder, 32, TripletSourceOptions(pictures=6, holdout=0.0, flip=flip)).batch(0, 0)
        for flip in (0.0, 1.0)
    )
    for i, text in enumerate(plain.texts):
        here = plain.reference_masks[i] if "left" in text else plain.reference_masks[i][:, ::-1]
        assert np.array_equal(mirrored.reference_masks[i], here)
    sides = [i for i, text in enumerate(plain.texts) if "left" in text]
    assert np.array_equal(mirrored.targets[sides], plain.targets[sides])
    assert not np.array_equal(mirrored.targets, plain.targets)


def test_triplets_held_out_are_other_photographs(triplet_folder):
    options = TripletSourceOptions(holdout=0.4)
    kept, held = (TripletSource(triplet_folder, 32, options, held_out=held) for held in (False, True))
    assert len(kept) + len(held) == 6
    assert not set(kept._names) & set(held._names)
    assert kept.vocabulary == held.vocabulary
    for options, held_out, part in ((TripletSourceOptions(holdout=0.0), True, "held out"),
                                    (TripletSourceOptions(holdout=1.0), False, "left to train on")):  # fmt: skip
        with pytest.raises(InputError, match=f"none of 18 triplets is {part}"):
            TripletSource(triplet_folder, 32, options, held_out=held_out)
    with pytest.raises(InputError, match="pictures and edits must be at least 1"):
        TripletSourceOptions(pictures=0)


def test_few_images_are_kept_in_memory(triplet_folder, monkeypatch):
    monkeypatch.setattr(triplet_source, "_CACHE_BYTES", 4 * 7 * 32**2)
    source = TripletSource(triplet_folder, 32, TripletSourceOptions(pictures=6, holdout=0.0))
    first, again = source.batch(0, 0), source.batch(0, 0)
    assert len(source._cache) == 4
    assert np.array_equal(first.targets, again.targets)
