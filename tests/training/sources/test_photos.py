"""Photographs edited while training."""

import shutil

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.images.placement import fit
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, draw_round
from mmgrad_explain.training.sources.photo_options import PHOTO_EDITS, PhotoOptions
from mmgrad_explain.training.sources.photos import PhotoSource

FEW = PhotoOptions(pictures=3, edits=3, holdout=0.3)


@pytest.fixture(scope="module")
def source(photo_folder):
    return PhotoSource(photo_folder, 32, FEW)


def test_a_batch(source):
    batch = source.batch(0, 0)
    assert batch.references.shape == (3, 32, 32, 3)
    assert batch.targets.shape == (9, 32, 32, 3)
    assert batch.references.dtype == batch.targets.dtype == np.uint8
    assert batch.picture.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert batch.supervised.all()
    assert batch.reference_masks.any((1, 2)).all()
    assert np.array_equal(batch.reference_masks, batch.target_masks)
    assert set(batch.edits) <= set(PHOTO_EDITS)
    assert batch.reference_labels["object"].shape == (3, 32, 32)
    for i, mask in enumerate(batch.reference_masks):
        labels = np.unique(batch.reference_labels["object"][batch.picture[i]][mask])
        assert len(labels) == 1
        assert source.names[labels[0]] in batch.texts[i]
        assert source.names[labels[0]] != "skin"
    words = {word for text in batch.texts for word in text.split()}
    assert words <= set(source.vocabulary)
    assert len(set(batch.texts)) > 3


def test_the_edit_is_in_the_mask(photo_folder):
    """Without light and noise of its own, target and reference differ inside the mask and nowhere else."""
    batch = PhotoSource(photo_folder, 32, PhotoOptions(pictures=4, light=0)).batch(1, 0)
    changed = (batch.targets != batch.references[batch.picture]).any(-1)
    assert not (changed & ~batch.reference_masks).any()
    assert (changed.sum((1, 2)) > 0.2 * batch.reference_masks.sum((1, 2))).all()


def test_the_letterbox_bars_are_what_the_model_sees(source, photo_folder):
    """Another light does not reach them."""
    batch = PhotoSource(photo_folder, 32, PhotoOptions(pictures=3, zoom=(0.9, 0.9))).batch(0, 0)
    for picture in batch.references:
        assert (picture[:, [0, -1]] == 127).all() or (picture[[0, -1]] == 127).all()


def test_equal_seeds_and_steps_give_equal_batches(source, photo_folder):
    again = PhotoSource(photo_folder, 32, FEW)
    again.batch(0, 3)
    first, second, other, seed = source.batch(0, 1), again.batch(0, 1), source.batch(0, 2), source.batch(1, 1)
    assert np.array_equal(first.targets, second.targets)
    assert first.texts == second.texts
    assert not np.array_equal(first.references, other.references)
    assert not np.array_equal(first.references, seed.references)


def test_partners_have_disjoint_regions(source):
    batch = source.batch(0, 0)
    assert (batch.partner >= 0).any()
    for i, j in enumerate(batch.partner):
        if j >= 0:
            assert batch.picture[i] == batch.picture[j]
            assert not (batch.reference_masks[i] & batch.reference_masks[j]).any()


def test_every_photograph_is_shown_before_one_is_repeated():
    seen = [index for step in range(4) for index in draw_round(5, 0, step, 3)]
    assert sorted(seen[:5]) == sorted(seen[5:10]) == list(range(5))
    assert seen[:5] != seen[5:10]
    assert len(seen) == 12


def test_held_out_photographs_are_others_and_whole(photo_folder):
    kept, held = (PhotoFolder(photo_folder, holdout=0.3, held_out=held_out) for held_out in (False, True))
    names = [{file.photo.name for file in folder.files} for folder in (kept, held)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 12
    source = PhotoSource(photo_folder, 32, FEW, held_out=True)
    batch = source.batch(0, 0)
    shown = [np.asarray(fit(Image.fromarray(source._photos[i][0]), 32)[0]) for i in draw_round(len(source), 0, 0, 3)]
    assert np.array_equal(batch.references, np.stack(shown))


def test_options(photo_folder):
    options = PhotoOptions(pictures=4, edits=2, kinds={"pattern": 1.0}, exclude=("null", "skin", "bag", "shoes"))
    batch = PhotoSource(photo_folder, 32, options).batch(0, 0)
    assert set(batch.edits) == {"pattern"}
    assert all("coat" in text for text in batch.texts)
    assert (batch.partner == -1).all()
    renamed = PhotoOptions(pictures=6, synonyms={"coat": ("parka",)})
    source = PhotoSource(photo_folder, 32, renamed)
    assert "parka" in source.vocabulary
    assert any("parka" in text for text in source.batch(0, 0).texts)


def test_small_things_are_edited_where_there_is_nothing_else(photo_folder):
    batch = PhotoSource(photo_folder, 32, PhotoOptions(pictures=3, min_area=0.9)).batch(0, 0)
    assert batch.reference_masks.any((1, 2)).all()


def test_invisible_edits_are_not_drawn(photo_folder, tmp_path):
    """Darkening black, or graying gray."""
    folder = tmp_path / "black"
    shutil.copytree(photo_folder, folder)
    for photo in (folder / "photos").iterdir():
        Image.new("RGB", (40, 60)).save(photo)
    options = PhotoOptions(pictures=2, kinds={"darken": 1.0, "gray": 1.0, "recolour": 0.001}, recoloured=0, light=0)
    assert set(PhotoSource(folder, 32, options).batch(0, 0).edits) == {"recolour"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "labels.json").unlink(), "has no labels.json: a folder of photos/, labels/"),
        (lambda folder: (folder / "labels.json").write_text("{"), "labels.json cannot be read"),
        (lambda folder: (folder / "labels.json").write_text('["null"]'), "must be a list of names, 2 to 254"),
        (lambda folder: shutil.rmtree(folder / "labels"), "has no photos/NAME.jpg with labels/NAME.png"),
        (lambda folder: shutil.rmtree(folder / "photos"), "has no photos/NAME.jpg with labels/NAME.png"),
        (lambda folder: [p.write_bytes(b"no") for p in (folder / "labels").iterdir()], "cannot be read"),
        (lambda folder: [p.write_bytes(p.read_bytes()[:45]) for p in (folder / "labels").iterdir()], "cannot be read"),
        (
            lambda folder: [Image.new("RGB", (40, 60)).save(p) for p in (folder / "labels").iterdir()],
            "one number a pixel",
        ),
        (lambda folder: [Image.new("L", (4, 6)).save(p) for p in (folder / "labels").iterdir()], "its photograph"),
        (lambda folder: [Image.new("L", (40, 60)).save(p) for p in (folder / "labels").iterdir()], "exclude fewer"),
    ],
)
def test_folders_that_are_no_photographs_with_labels(photo_folder, tmp_path, spoil, message):
    folder = tmp_path / "spoiled"
    shutil.copytree(photo_folder, folder)
    spoil(folder)
    with pytest.raises(InputError, match=message):
        PhotoSource(folder, 32, FEW).batch(0, 0)


def test_wrong_options(photo_folder):
    with pytest.raises(InputError, match="no edit 'recolor': did you mean 'recolour'"):
        PhotoSource(photo_folder, 32, PhotoOptions(kinds={"recolor": 1.0}))
    with pytest.raises(InputError, match="none of 12 photographs is held out"):
        PhotoSource(photo_folder, 32, PhotoOptions(holdout=0.0), held_out=True)
    with pytest.raises(InputError, match="left to train on"):
        PhotoSource(photo_folder, 32, PhotoOptions(holdout=1.0))


def test_names_that_no_label_has(photo_folder):
    """An excluded one would be edited all the same; a synonym would be a word that is never taught."""
    with pytest.raises(InputError, match=r"photos\.exclude: no label is called 'sho'; did you mean 'shoes'"):
        PhotoSource(photo_folder, 32, PhotoOptions(exclude=("hair", "sho")))
    with pytest.warns(MMGradWarning, match=r"photos\.synonyms: no label is called 'cot'; did you mean 'coat'"):
        source = PhotoSource(photo_folder, 32, PhotoOptions(synonyms={"cot": ("parka",), "coat": ("anorak",)}))
    assert "anorak" in source.vocabulary
    assert "parka" not in source.vocabulary
