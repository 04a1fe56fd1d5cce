"""Several sources as one."""

from dataclasses import replace

import pytest

from mmgrad_explain.data.batches.batch import join_batches
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.mixture import Mixture
from mmgrad_explain.training.sources.photo_options import PhotoOptions
from mmgrad_explain.training.sources.photos import PhotoSource
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

FEW = SceneSourceOptions(pictures=2, edits=3)


def test_a_mixture_draws_by_weight(photo_folder):
    photos = PhotoSource(photo_folder, 32, PhotoOptions(pictures=1, edits=2))
    mixed = Mixture({"scenes": SceneSource(32, FEW), "photos": photos}, [1, 3])
    kinds = [len(mixed.batch(0, step).references) for step in range(24)]
    assert 12 < kinds.count(1) < 24
    assert kinds == [len(mixed.batch(0, step).references) for step in range(24)]
    assert set(mixed.vocabulary) >= {*photos.vocabulary, "star"}
    assert mixed.label_classes == {"object": 5, "pixel_colour": 12}


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


def test_contexts_are_mixed_with_batches_that_have_none():
    related = SceneSourceOptions(pictures=4, edits=3, objects=(3, 5), relations=1.0, places=0.0)
    with_context = SceneSource(32, related).batch(3, 0)
    without = replace(SceneSource(32, FEW).batch(3, 0), context_masks=None)
    both = join_batches([with_context, without]).context_masks
    assert (both[: len(with_context.texts)] == with_context.context_masks).all()
    assert not both[len(with_context.texts) :].any()
    assert join_batches([without, without]).context_masks is None
