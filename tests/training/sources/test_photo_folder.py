"""A folder of labelled photographs."""

import json

import pytest
from PIL import Image

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources import photo_folder as module
from mmgrad_explain.training.sources.photo_folder import PhotoFolder, share_of_name


def make_folder(root, labelled, tagged=None, names=("null", "coat", "bag")):
    """Write empty photographs: labelled ones by name, tagged ones with their tags."""
    for part in ("photos", "labels", "tagged"):
        (root / part).mkdir(parents=True)
    (root / "labels.json").write_text(json.dumps(names))
    for name in labelled:
        Image.new("RGB", (8, 12), "red").save(root / "photos" / f"{name}.png")
        Image.new("L", (8, 12), 1).save(root / "labels" / f"{name}.png")
    for name in tagged or ():
        Image.new("RGB", (8, 12), "blue").save(root / "tagged" / f"{name}.png")
    if tagged is not None:
        (root / "tags.json").write_text(json.dumps(tagged))
    return root


def names_of(photos):
    return [file.photo.stem for file in photos.files]


def test_folders_join_and_tagged_photographs_follow_the_labelled_ones(tmp_path):
    first = make_folder(tmp_path / "a", ["1", "2"], {"3": ["coat"]})
    second = make_folder(tmp_path / "b", ["4"], {"5": ["bag", "coat"]})
    photos = PhotoFolder(first, more=[second], tagged=True)
    assert names_of(photos) == ["1", "2", "4", "3", "5"]
    assert photos.labelled == 3
    assert photos.files[4].tags == {"bag", "coat"}
    assert (photos[3][1] == IGNORE).all()
    assert (photos[0][1] == 1).all()
    assert names_of(PhotoFolder(first, more=[second])) == ["1", "2", "4"]


def test_of_twins_one_is_used_and_none_is_trained_on_while_the_other_is_held_out(tmp_path):
    names = [f"{i:02}" for i in range(40)]
    held = [name for name in names if share_of_name(name) < 0.3]
    kept = [name for name in names if name not in held]
    tag = next(name for name in map(str, range(100, 140)) if share_of_name(name) >= 0.3)
    folder = make_folder(tmp_path / "a", names, {tag: ["coat"]})
    twins = tmp_path / "twins.json"
    twins.write_text(json.dumps([[kept[0], held[0]], [kept[1], kept[2]], [tag, kept[3]], [held[1], "elsewhere"]]))
    train, test = (
        PhotoFolder(folder, twins=twins, holdout=0.3, held_out=held_out, tagged=True) for held_out in (False, True)
    )
    assert names_of(test) == [name for name in names if name in held]  # held-out ones stay the same
    assert not {kept[0], kept[2], tag} & set(names_of(train))
    assert {kept[1], kept[3]} <= set(names_of(train))


def test_folders_and_files_that_do_not_fit(tmp_path):
    first = make_folder(tmp_path / "a", ["1"], {"3": ["bga"]})
    other = make_folder(tmp_path / "b", ["2"], names=("null", "coat"))
    with pytest.raises(InputError, match="lists other names than"):
        PhotoFolder(first, more=[other])
    with pytest.raises(InputError, match=r"tags\.json: no label is called 'bga'; did you mean 'bag'"):
        PhotoFolder(first, tagged=True)
    (first / "tags.json").write_text("[]")
    with pytest.raises(InputError, match="a list of tags"):
        PhotoFolder(first, tagged=True)
    with pytest.raises(InputError, match="twins: there is no file"):
        PhotoFolder(first, twins=tmp_path / "none.json")
    (tmp_path / "twins.json").write_text('["1"]')
    with pytest.raises(InputError, match="must be a list of lists of names"):
        PhotoFolder(first, twins=tmp_path / "twins.json")


def test_large_photographs_are_shrunk_and_few_are_kept(tmp_path, monkeypatch):
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "labels.json").write_text(json.dumps(["null", "coat"]))
    for number in range(3):
        Image.new("RGB", (900, 300), "red").save(tmp_path / "photos" / f"{number}.jpg")
        Image.new("L", (900, 300), 1).save(tmp_path / "labels" / f"{number}.png")
    monkeypatch.setattr(module, "_CACHED", 2)
    photos = PhotoFolder(tmp_path)
    for index in (0, 1, 0, 2):
        photo, labels = photos[index]
        assert photo.shape == (213, 640, 3)
        assert labels.shape == (213, 640)
    assert list(photos._cache) == [0, 2]
