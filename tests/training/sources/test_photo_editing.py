"""Photographs with facts, targets of other photographs, two objects at once, two people."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.data.batches.batch import IGNORE, take_images
from mmgrad_explain.data.batches.facts import match_facts
from mmgrad_explain.data.edits.nouns import split_words
from mmgrad_explain.errors import MMGradWarning
from mmgrad_explain.training.sources.photo_options import PhotoOptions
from mmgrad_explain.training.sources.photos import PhotoSource


@pytest.fixture(scope="module")
def many(photo_folder, tmp_path_factory):
    """The labelled photographs, red coats among them, and four with tags, of which two have a bag."""
    folder = tmp_path_factory.mktemp("many") / "photos"
    shutil.copytree(photo_folder, folder)
    for path in sorted((folder / "photos").iterdir())[::3]:
        pixels = np.array(Image.open(path))
        pixels[np.array(Image.open(folder / "labels" / path.name)) == 1] = (200, 20, 30)
        Image.fromarray(pixels).save(path)
    (folder / "tagged").mkdir()
    for number in range(4):
        Image.new("RGB", (40, 60), (90, 100, 110)).save(folder / "tagged" / f"t{number}.png")
    tags = {f"t{number}": ["null", "coat", "bag"][: 2 + number % 2] for number in range(4)}
    (folder / "tags.json").write_text(json.dumps(tags))
    return folder


OPTIONS = PhotoOptions(pictures=4, edits=2, pairs=2, least=2, holdout=0.1, free=0.5)


@pytest.fixture(scope="module")
def batches(many):
    source = PhotoSource(many, 32, OPTIONS)
    return source, [source.batch(0, step) for step in range(6)]


def test_edited_copies_are_followed_by_other_photographs(batches):
    source, made = batches
    kinds = set()
    for batch in made:
        facts = batch.facts
        others = (facts.target_photos != facts.reference_photos[batch.picture]).numpy()
        assert (~others).sum() == 8
        kinds |= {edit for edit, other in zip(batch.edits, others, strict=True) if other}
        assert {word for text in batch.texts for word in split_words(text)} <= set(source.vocabulary)
        assert facts.asks.shape == (len(batch.texts), source.facts)
        assert facts.classes == source.label_classes["object"]
    assert {"recolour", "remove"} <= kinds


def test_targets_are_what_texts_ask_for_and_references_are_not(batches):
    for batch in batches[1]:
        right, _ = match_facts(batch.facts.asks, batch.facts.targets)
        _, wrong = match_facts(batch.facts.asks, batch.facts.references)
        asked = (batch.facts.asks != -1).any(1)
        assert asked.any()
        assert right.diagonal()[asked].all()
        assert wrong[torch.arange(len(asked)), batch.picture][asked].all()


def test_of_tagged_photographs_the_tags_are_known_and_no_place(batches):
    source, made = batches
    seen = 0
    for batch in made:
        tagged = batch.facts.target_photos.numpy() >= len(source)
        seen += tagged.sum()
        assert (batch.target_labels["object"][tagged] == IGNORE).all()
        assert not batch.target_masks[tagged].any()
        assert (batch.targets[tagged][:, 16, 16] != 127).any(-1).all()  # the image is shown, not the bars' gray
        assert not (batch.target_labels["object"][~tagged] == IGNORE).any()
    assert seen


def test_maps_are_supervised_where_the_text_speaks_of_something_seen(batches):
    for batch in batches[1]:
        masks = batch.reference_masks | batch.target_masks
        assert np.array_equal(batch.supervised, masks.any((1, 2)))
        for edit, before in zip(batch.edits, batch.reference_masks, strict=True):
            assert before.any() == (edit != "add")


def test_a_part_of_a_batch_keeps_its_facts(batches):
    batch = batches[1][0]
    part = take_images(batch, np.array([1, 3]))
    assert torch.equal(part.facts.references, batch.facts.references[[1, 3]])
    assert part.facts.targets.shape[0] == len(part.texts)


def test_held_out_photographs_are_edited_as_without_these_options(many):
    plain = PhotoSource(many, 32, PhotoOptions(pictures=4, edits=2, holdout=0.5), held_out=True).batch(1, 0)
    options = PhotoOptions(pictures=4, edits=2, holdout=0.5, pairs=2, free=1.0, double=1.0, beside=1.0, portrait=1.0)
    batch = PhotoSource(many, 32, options, held_out=True).batch(1, 0)
    assert np.array_equal(batch.targets, plain.targets)
    assert batch.texts == plain.texts
    assert plain.facts is None
    assert (batch.facts.references[:, 1] == 1).all()


def test_two_objects_at_once(many):
    options = PhotoOptions(pictures=4, edits=3, double=1.0, light=0, recoloured=0, zoom=(1.0, 1.0), holdout=0.1)
    batch = PhotoSource(many, 32, options).batch(0, 0)
    changed = (batch.targets != batch.references[batch.picture]).any(-1)
    for last in range(2, 12, 3):
        first, second = batch.texts[last - 2 : last]
        assert batch.texts[last].startswith(first)
        assert batch.texts[last].endswith(second)
        both = batch.reference_masks[last - 2] | batch.reference_masks[last - 1]
        assert np.array_equal(batch.reference_masks[last], both)
        for part in batch.reference_masks[last - 2 : last]:
            assert (changed[last] & part).any()


def test_two_people_are_told_apart_by_their_side(many):
    options = PhotoOptions(pictures=6, beside=1.0, zoom=(1.0, 1.0), focus=0, pairs=1, least=1, holdout=0.1)
    batch = PhotoSource(many, 64, options).batch(0, 0)
    sides = 0
    for text, mask, picture in zip(batch.texts, batch.reference_masks, batch.picture, strict=True):
        labels = batch.reference_labels["object"][picture]
        label = np.unique(labels[mask])
        assert len(label) == 1
        rest = (labels == label[0]) & ~mask
        if rest.any() and ("left" in text) != ("right" in text):
            sides += 1
            assert (np.nonzero(mask)[1].mean() < np.nonzero(rest)[1].mean()) == ("left" in text)
    assert sides > 3
    assert (batch.facts.targets == -1).all()
    told = [bool({"left", "right"} & set(text.split())) for text in batch.texts]
    assert (batch.facts.asks[torch.tensor(told)] == -1).all()


def test_portraits_begin_at_the_top(many):
    options = PhotoOptions(pictures=8, portrait=1.0, zoom=(0.5, 2.0), holdout=0.1)
    batch = PhotoSource(many, 32, options).batch(0, 0)
    labels = batch.reference_labels["object"]
    assert np.mean([(one == 3).any() for one in labels]) > 0.7  # the head
    assert np.mean([(one == 4).any() for one in labels]) < 0.5  # the shoes


def test_groups_of_names_that_no_label_has(many):
    with pytest.warns(MMGradWarning, match=r"photos\.alike: no label is called 'bga'; did you mean 'bag'.* left out"):
        PhotoSource(many, 32, PhotoOptions(alike=(("bga", "coat"),)))
