"""Photographs with further objects pasted on them, as training data."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.object_edits import OBJECT_EDITS
from mmgrad_explain.training.sources.objects import ObjectSource, ObjectSourceOptions

FEW = ObjectSourceOptions(pictures=3, edits=3, holdout=0.3, pasted=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of one object each; the first shows none, and a band of each is unknown."""
    root = tmp_path_factory.mktemp("objects")
    (root / "photos").mkdir()
    (root / "labels").mkdir()
    (root / "labels.json").write_text(json.dumps(["background", "dog", "cat"]))
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(90, 160, (80, 100, 3), dtype=np.uint8)
        labels = np.zeros((80, 100), np.uint8)
        labels[75:] = 255
        if number:
            top, left = int(rng.integers(2, 30)), int(rng.integers(2, 50))
            labels[top : top + 40, left : left + 40] = 1 + number % 2
            pixels[labels == 1], labels[labels == 1] = (210, 60, 50), 1
        Image.fromarray(pixels).save(root / "photos" / f"{number}.png")
        Image.fromarray(labels).save(root / "labels" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def source(folder):
    return ObjectSource(folder, 48, FEW)


def test_a_batch(source):
    batch = source.batch(0, 0)
    assert batch.references.shape == (3, 48, 48, 3)
    assert batch.targets.shape == (9, 48, 48, 3)
    assert batch.picture.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert set(batch.edits) <= set(OBJECT_EDITS)
    assert batch.supervised.all()
    assert (batch.targets != batch.references[batch.picture]).any((1, 2, 3)).all()
    assert {word for text in batch.texts for word in text.split()} <= set(source.vocabulary)
    assert {name: labels.shape for name, labels in batch.reference_labels.items()} == {
        "object": (3, 48, 48), "pixel_colour": (3, 48, 48),
    }  # fmt: skip
    assert batch.target_labels["object"].shape == (9, 48, 48)


def test_the_text_names_what_the_mask_covers(source):
    for step in range(3):
        batch = source.batch(1, step)
        for number, (kind, text, mask) in enumerate(zip(batch.edits, batch.texts, batch.reference_masks, strict=True)):
            labels = (
                batch.target_labels["object"][number]
                if kind == "add"
                else batch.reference_labels["object"][batch.picture[number]]
            )
            covered = np.bincount(labels[mask], minlength=256).argmax()
            assert source.names[covered] in text


def test_equal_seeds_and_steps_give_equal_batches(source, folder):
    first, second, other = source.batch(0, 1), ObjectSource(folder, 48, FEW).batch(0, 1), source.batch(0, 2)
    assert np.array_equal(first.targets, second.targets)
    assert first.texts == second.texts
    assert not np.array_equal(first.references, other.references)


def test_a_photograph_without_objects_gets_one(folder):
    source = ObjectSource(folder, 48, ObjectSourceOptions(pictures=8, edits=1, holdout=0))
    assert source.batch(0, 0).supervised.all()


def test_held_out_photographs_are_others_in_their_own_light(folder, source):
    held_out = ObjectSource(folder, 48, FEW, held_out=True)
    assert len(held_out) + len(source) == 8
    batch = held_out.batch(0, 0)
    for mask, target, number in zip(
        batch.reference_masks | batch.target_masks, batch.targets, batch.picture, strict=True
    ):
        near = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)  # soft edges, filled places
        assert not (target != batch.references[number]).any(-1)[~near].any()


def test_bars_are_background_and_unknown_pixels_stay_unknown(folder):
    options = ObjectSourceOptions(pictures=8, edits=1, holdout=0, pasted=0, zoom=(1.0, 1.0))
    labels = ObjectSource(folder, 48, options).batch(0, 0).reference_labels["object"]
    assert (labels[:, 0] == 0).all() or (labels[:, :, 0] == 0).any()
    assert (labels == 255).any()


def test_nothing_to_cut_out(folder, tmp_path):
    for part in ("photos", "labels"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "0.png").write_bytes((folder / part / "0.png").read_bytes())
    (tmp_path / "labels.json").write_bytes((folder / "labels.json").read_bytes())
    with pytest.raises(InputError, match="no labelled object is large enough to be cut out"):
        ObjectSource(tmp_path, 48, ObjectSourceOptions(holdout=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"recolor": 1.0}}, "objects have no edit 'recolor': did you mean 'recolour'"),
        ({"kinds": {"blur": 1.0}}, "recolour above 0"),
        ({"edits": 0}, "pictures and edits must be at least 1"),
        ({"free": 1.5}, "objects.free is a share"),
        ({"areas": (0.3, 0.1)}, "objects.areas must rise"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        ObjectSourceOptions(**options)


def test_a_synonym_of_no_label(folder):
    with pytest.raises(InputError, match="no label is called 'cow'"):
        ObjectSource(folder, 48, ObjectSourceOptions(synonyms={"cow": ("ox",)}))
