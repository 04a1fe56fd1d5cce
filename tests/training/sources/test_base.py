"""Sources of batches, and mixtures of them."""

import numpy as np
import pytest

from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.base import Mixture, SceneSource, SceneSourceOptions
from mmgrad_explain.training.sources.photos import PhotoOptions, PhotoSource
from mmgrad_explain.training.sources.triplets import TripletSource, TripletSourceOptions

FEW = SceneSourceOptions(pictures=2, edits=3)


def test_scenes_go_on_with_the_steps():
    batch = SceneSource(32, FEW, labels=True).batch(4, 3)
    drawn = list(scenes(4, 2, size=32, edits=3, start=6, labels=True))
    assert np.array_equal(batch.references, np.stack([scene.reference for scene in drawn]))
    assert batch.texts == [triplet.text for scene in drawn for triplet in scene.triplets]
    assert np.array_equal(batch.reference_labels["shape"][1], drawn[1].labels[1])
    assert np.array_equal(batch.target_labels["color"][4], drawn[1].triplets[1].labels[0])
    assert (batch.partner < 6).all()
    for i, j in enumerate(batch.partner):
        assert j < 0 or (j // 3 == i // 3 and j != i)


def test_scenes_without_labels():
    source = SceneSource(32, FEW)
    assert source.label_classes == {}
    assert source.batch(0, 0).reference_labels == {}
    assert SceneSource(32, FEW, labels=True).label_classes["shape"] == 9


def test_a_mixture_draws_by_weight(photo_folder):
    photos = PhotoSource(photo_folder, 32, PhotoOptions(pictures=1, edits=2))
    mixed = Mixture({"scenes": SceneSource(32, FEW), "photos": photos}, [1, 3])
    kinds = [len(mixed.batch(0, step).references) for step in range(24)]
    assert 12 < kinds.count(1) < 24
    assert kinds == [len(mixed.batch(0, step).references) for step in range(24)]
    assert set(mixed.vocabulary) >= {*photos.vocabulary, "star"}
    assert mixed.label_classes == {"object": 5}


def test_a_mixture_within_a_batch(photo_folder):
    photos = PhotoSource(photo_folder, 32, PhotoOptions(pictures=1, edits=2))
    batch = Mixture({"scenes": SceneSource(32, FEW), "photos": photos}, [1, 1], "batch").batch(0, 0)
    assert len(batch.references) == 3
    assert len(batch.texts) == 8


def test_mixtures_that_make_no_sense(photo_folder):
    with pytest.raises(InputError, match="sources: there are none; name at least one"):
        Mixture({}, [])
    with pytest.raises(InputError, match="every weight must be above 0"):
        Mixture({"scenes": SceneSource(32)}, [0])
    with pytest.raises(InputError, match="mix must be 'step'"):
        Mixture({"scenes": SceneSource(32)}, [1], "epoch")
    photos = [PhotoSource(photo_folder, 32) for _ in range(2)]
    photos[1].names = ["null", "coat"]
    with pytest.raises(InputError, match="label maps 'object' with different numbers of classes"):
        _ = Mixture({"a": photos[0], "b": photos[1]}, [1, 1]).label_classes


# -------------------------------------------------------------------------------------------------- folders of triplets


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


def test_few_pictures_are_kept_in_memory(triplet_folder, monkeypatch):
    from mmgrad_explain.training.sources import triplets as triplet_source

    monkeypatch.setattr(triplet_source, "_CACHE_BYTES", 4 * 7 * 32**2)
    source = TripletSource(triplet_folder, 32, TripletSourceOptions(pictures=6, holdout=0.0))
    first, again = source.batch(0, 0), source.batch(0, 0)
    assert len(source._cache) == 4
    assert np.array_equal(first.targets, again.targets)
