"""Finding image files: links, hidden files, names that cannot be used, folders that do not exist."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.image_files import check_folders, find_images, read_file, state_of


@pytest.fixture
def images(tmp_path):
    """Three, in folders within folders."""
    root = tmp_path / "images"
    (root / "sub" / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.png", "sub/c.PNG", "sub/deep/d.bmp")):
        Image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(root / name)
    return root


def found(*folders):
    return [os.path.relpath(path, os.path.commonpath(folders)) for path in find_images(folders).files]


def test_images_are_found_by_their_names(images):
    (images / "notes.txt").touch()
    result = find_images([images])
    assert result.files == [str(images / name) for name in ("a.png", "sub/c.PNG", "sub/deep/d.bmp")]
    assert (result.others, result.hidden, result.problems) == (1, 0, {})
    assert result.covers(str(images / "gone.png"))
    assert not result.covers(f"{images}2/a.png")


def test_links(images, tmp_path):
    (images / "sub" / "again.png").symlink_to(images / "a.png")  # the file itself is there too
    (images / "round").symlink_to(images)  # a circle
    (tmp_path / "elsewhere").mkdir()
    outside = shutil.copy(images / "a.png", tmp_path / "elsewhere" / "x.png")
    (images / "out").symlink_to(tmp_path / "elsewhere")
    (images / "0.png").symlink_to(outside)
    assert found(images) == ["0.png", "a.png", "sub/c.PNG", "sub/deep/d.bmp"]
    alias = tmp_path / "alias"
    alias.symlink_to(images)
    assert find_images([alias, images]).files == find_images([images]).files  # the same folder by two names


def test_hidden_files_and_folders_are_left_out_and_counted(images):
    (images / ".thumbnails").mkdir()
    shutil.copy(images / "a.png", images / ".thumbnails")
    (images / "._a.jpg").touch()
    assert len(find_images([images]).files) == 3
    assert find_images([images]).hidden == 2
    assert found(images / ".thumbnails") == ["a.png"]  # a folder that is named is meant


def test_a_path_that_is_too_long(images, monkeypatch):
    longest = len(str(images / "sub" / "c.PNG"))
    monkeypatch.setattr("mmgrad_explain.gallery.image_files.LONGEST_PATH", longest)
    assert find_images([images]).problems == {
        str(images / "sub" / "deep" / "d.bmp"): f"its path is longer than {longest} bytes"
    }


def test_paths_that_are_no_files(images):
    (images / "link.png").symlink_to("nowhere")
    os.mkfifo(images / "pipe.png")
    (images / os.fsdecode(b"\xff.png")).symlink_to(images / "a.png")
    assert {path.rpartition("/")[2]: why for path, why in find_images([images]).problems.items()} == {
        "link.png": "the link leads nowhere",
        "pipe.png": "it is no ordinary file",
        "\ufffd.png": "its name is not valid UTF-8: rename it",
    }


def test_wrong_folders(images):
    with pytest.raises(InputError, match=r"folder .*nothing is not there"):
        find_images([images / "nothing"])
    with pytest.raises(InputError, match=r"a\.png is a file: name the folder it is in"):
        check_folders([images / "a.png"])
    with pytest.raises(InputError, match="no folder: name at least one"):
        check_folders([])


def test_what_is_read_and_whether_it_has_changed(images, monkeypatch):
    path = images / "a.png"
    entry, content = read_file(str(path))
    assert content == path.read_bytes()
    assert (entry.path, entry.size, state_of(entry)) == (str(path), len(content), "there")
    os.utime(path, ns=(1, 1))
    assert state_of(entry) == "changed"
    path.unlink()
    assert state_of(entry) == "gone"
    monkeypatch.setattr("mmgrad_explain.gallery.image_files._LARGEST", 10)
    with pytest.raises(InputError, match="is too large: 0 MB, of at most 0"):
        read_file(str(images / "sub" / "c.PNG"))
