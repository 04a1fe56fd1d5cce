"""A triplet set in NumPy stacks trains and evaluates like the same set in image files."""

import numpy as np
import pytest

from mmgrad_explain.data.scenes.build import build_scenes
from mmgrad_explain.data.scenes.set_options import SceneSetOptions
from mmgrad_explain.evaluation.triplet_inputs import folder_triplets
from mmgrad_explain.evaluation.triplets import _open_images
from mmgrad_explain.training.sources.triplets import TripletSource, TripletSourceOptions


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    both = [tmp_path_factory.mktemp(kind) for kind in ("png", "npy")]
    for folder in both:  # more than ten scenes: their numbers have one digit and two
        build_scenes(folder, 24, SceneSetOptions(size=32, edits=2, format=folder.name[:3]))
    return both


def test_batches_are_the_same(folders):
    options = TripletSourceOptions(pictures=5, edits=2, holdout=0.0)
    files, stacks = (TripletSource(folder, 32, options) for folder in folders)
    assert len(files) == len(stacks) == 12
    for step in range(3):
        one, other = files.batch(0, step), stacks.batch(0, step)
        assert one.texts == other.texts
        for name in ("references", "targets", "reference_masks", "picture", "partner"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_evaluation_sees_the_same(folders):
    files, stacks = (folder_triplets(folder) for folder in folders)
    assert len({one.reference_name for one in stacks}) == 12
    for one, other in zip(files, stacks, strict=True):
        assert (one.id, one.text) == (other.id, other.text)
        assert np.array_equal(one.mask, other.mask)
    for some in zip(*(_open_images(triplets) for triplets in (files, stacks)), strict=True):
        assert [picture.tobytes() for picture in some[0]] == [picture.tobytes() for picture in some[1]]
