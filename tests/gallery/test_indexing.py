"""Folders into a gallery: new, changed, deleted, unreadable, the same twice, links."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.embedding import embed_images
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery import gallery as gallery_module
from mmgrad_explain.gallery import indexing as gallery_index
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.image_files import find_images
from mmgrad_explain.gallery.indexing import IndexReport


def save(path, seed, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return str(path)


@pytest.fixture
def pictures(tmp_path):
    """Six, of two shapes, in folders within folders, with names of all sorts."""
    root = tmp_path / "pictures"
    for i, name in enumerate(("a.png", "b.PNG", "sub/c.png", "sub/deep/d.bmp", "é 名 '\"%\\.png", "f.gif")):
        save(root / name, i, (20 + 4 * (i % 2), 16))
    return root


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_folder):
    with Gallery(tmp_path_factory.mktemp("gallery") / "mine.db", tiny_folder, create=True) as gallery:
        yield gallery


@pytest.fixture
def gallery(shared):
    """An empty gallery: to open one takes longer than what most tests do with it."""
    yield shared
    shared._store.remove(list(shared._store.rows()))


def rows(gallery):
    return gallery._store.rows()


def check_vectors(gallery):
    """Every row has the embedding of what is in its file."""
    known = rows(gallery)
    vectors = gallery._store.vectors(list(known))
    assert set(vectors) == set(known)
    for path, vector in vectors.items():
        with Image.open(path) as image:
            expected = embed_images(gallery.composer, [image.convert("RGB")])[0]
        torch.testing.assert_close(torch.from_numpy(vector), expected, atol=1e-5, rtol=0)


def test_new_unchanged_changed_and_deleted(gallery, pictures):
    (pictures / "notes.txt").write_text("not a picture")
    assert gallery.index([pictures], batch=4) == IndexReport(added=6, others=1, total=6)
    assert len(gallery) == 6
    check_vectors(gallery)
    assert gallery.index([pictures]) == IndexReport(unchanged=6, others=1, total=6)

    save(pictures / "a.png", 100)
    (pictures / "b.PNG").unlink()
    save(pictures / "new.png", 101)
    os.utime(pictures / "f.gif", ns=(1, 1))  # only touched: the content is what it was
    found = gallery.index([pictures])
    assert found == IndexReport(added=1, changed=1, removed=1, unchanged=4, others=1, total=6)
    assert set(rows(gallery)) == {str(path) for path in pictures.rglob("*") if path.suffix not in ("", ".txt")}
    assert rows(gallery)[str(pictures / "f.gif")].mtime_ns == 1
    check_vectors(gallery)


def test_hidden_files_are_left_out_and_counted(gallery, pictures):
    (pictures / ".thumbnails").mkdir()
    save(pictures / ".thumbnails" / "small.png", 102)
    (pictures / "._a.jpg").write_bytes(b"\0\5\26\7 what macOS writes beside a file")
    (pictures / ".DS_Store").touch()
    assert gallery.index([pictures]) == IndexReport(added=6, hidden=3, total=6)
    hidden = pictures.parent / ".photos"
    hidden.mkdir()
    save(hidden / "own.png", 103)
    assert gallery.index([hidden]) == IndexReport(added=1, total=7), "a folder that is named is meant"


def test_a_note_on_an_image_stands_with_its_file(gallery, tmp_path):
    folder = tmp_path / "stacks"
    folder.mkdir()
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    first.save(folder / "scan.tif", save_all=True, append_images=[second])
    save(folder / "plain.png", 1)
    report = gallery.index([folder])
    (path, (note,)), *others = report.notes.items()
    assert not others
    assert (path, note.kind) == (str(folder / "scan.tif"), "first-image")
    assert report == IndexReport(added=2, notes={path: (note,)}, total=2)
    assert report.to_dict()["notes"] == {path: note.text}
    assert json.dumps(report.to_dict())


def test_unchanged_files_are_not_read(gallery, pictures, monkeypatch):
    gallery.index([pictures])
    monkeypatch.setattr(gallery_index, "read_file", None)
    assert gallery.index([pictures]).unchanged == 6


def test_files_of_the_same_content_are_embedded_once(gallery, pictures, monkeypatch):
    embedded = []

    def counted(composer, images):
        embedded.extend(images)
        return embed_images(composer, images)

    monkeypatch.setattr(gallery_index, "embed_images", counted)
    for name in ("copy1.png", "sub/copy2.png"):
        shutil.copy(pictures / "a.png", pictures / name)
    assert gallery.index([pictures]).added == 8
    assert len(embedded) == 6
    shutil.copy(pictures / "a.png", pictures / "zz.png")  # now a row has it
    shutil.copy(pictures / "a.png", pictures / "f.gif")
    found = gallery.index([pictures])
    assert (found.added, found.changed, len(embedded)) == (1, 1, 6)
    check_vectors(gallery)


def test_contents_that_change_places(gallery, pictures):
    gallery.index([pictures])
    a, b = pictures / "a.png", pictures / "sub" / "c.png"
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)
    assert gallery.index([pictures], batch=1).changed == 2
    check_vectors(gallery)


def test_unreadable_files_are_reported_and_in_no_gallery(gallery, pictures):
    gallery.index([pictures])
    (pictures / "a.png").write_bytes(b"no picture")  # was in the gallery
    whole = (pictures / "sub" / "c.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "empty.jpg").touch()
    (pictures / "same.jpg").touch()
    (pictures / "link.png").symlink_to("nowhere")
    os.mkfifo(pictures / "pipe.png")
    (pictures / os.fsdecode(b"\xff.png")).symlink_to(pictures / "f.gif")
    found = gallery.index([pictures])
    why = {path.rpartition("/")[2]: reason for path, reason in found.unreadable.items()}
    assert set(why) == {"a.png", "cut.png", "empty.jpg", "same.jpg", "link.png", "pipe.png", "\ufffd.png"}
    assert "not an image" in why["a.png"]
    assert "truncated or damaged" in why["cut.png"]
    assert why["empty.jpg"] == why["same.jpg"] == "the image is empty (0 bytes)"
    assert why["link.png"] == "the link leads nowhere"
    assert why["pipe.png"] == "it is no ordinary file"
    assert why["\ufffd.png"] == "its name is not valid UTF-8: rename it"
    assert found.total == found.unchanged == 5
    assert str(pictures / "a.png") not in rows(gallery)


def test_a_file_that_goes_while_it_is_indexed(gallery, pictures, monkeypatch):
    find = gallery_module.find_images

    def then_gone(folders):
        found = find(folders)
        (pictures / "a.png").unlink()
        return found

    monkeypatch.setattr(gallery_module, "find_images", then_gone)
    found = gallery.index([pictures])
    path = str(pictures / "a.png")
    assert found.unreadable == {path: f"{path} cannot be read: No such file or directory"}
    assert found.added == 5


def test_an_image_that_the_model_refuses_does_not_stop_the_others(gallery, pictures, monkeypatch):
    def refuse(composer, images):
        if any(image.width == 77 for image in images):
            raise InputError("too wide for me")
        return embed_images(composer, images)

    monkeypatch.setattr(gallery_index, "embed_images", refuse)
    wide = save(pictures / "wide.png", 50, (77, 16))
    twice = save(pictures / "wider.png", 50, (77, 16))
    found = gallery.index([pictures])
    assert found.unreadable == {wide: "too wide for me", twice: "too wide for me"}
    assert found.added == 6
    check_vectors(gallery)


def test_rows_of_other_folders_stay(gallery, pictures, tmp_path):
    save(tmp_path / "pictures2" / "x.png", 8)  # its name begins like the other's
    gallery.index([pictures, tmp_path / "pictures2"])
    (pictures / "a.png").unlink()
    (tmp_path / "pictures2" / "x.png").unlink()
    assert gallery.index([pictures]).removed == 1
    assert str(tmp_path / "pictures2" / "x.png") in rows(gallery)


def test_a_folder_that_cannot_be_listed_loses_no_rows(gallery, pictures, monkeypatch):
    gallery.index([pictures])
    scan, closed = os.scandir, str(pictures / "sub")

    def refuse(place):
        if os.fspath(place) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    found = gallery.index([pictures])
    assert found.unreadable == {closed: "Permission denied"}
    assert (found.removed, found.total) == (0, 6)


def test_a_folder_that_is_empty_of_a_sudden_loses_no_rows(gallery, pictures, tmp_path):
    gallery.index([pictures])
    pictures.rename(tmp_path / "moved")
    pictures.mkdir()
    with pytest.raises(InputError, match="holds no image any more, but the gallery has 6 of it: is a disk missing"):
        gallery.index([pictures])
    assert len(gallery) == 6
    (tmp_path / "moved").rename(pictures / "in here")
    assert gallery.index([pictures]) == IndexReport(added=6, removed=6, total=6)


def test_progress_and_ctrl_c(gallery, pictures):
    told = []

    def stop(what, done, of):
        told.append((what, done, of))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gallery.index([pictures], batch=2, progress=stop)
    assert len(gallery) == 4
    check_vectors(gallery)
    assert gallery.index([pictures], batch=2, progress=lambda *one: told.append(one)).unchanged == 4
    assert told == [("images", 2, 6), ("images", 4, 6), ("images", 6, 6)]
    check_vectors(gallery)


def test_wrong_input(gallery, pictures):
    with pytest.raises(InputError, match=r"folder .*nothing is not there"):
        gallery.index([pictures / "nothing"])
    with pytest.raises(InputError, match="batch must be at least 1, got 0"):
        gallery.index([pictures], batch=0)


def test_a_sample_is_spread_over_the_folder_and_small(tmp_path):
    for i in range(8):
        save(tmp_path / f"{i}.png", i, (600, 30) if i == 4 else (20, 16))
    (tmp_path / "6.png").write_bytes(b"no image")
    sample = gallery_index.sample_images(find_images([tmp_path]), 4)
    assert [image.size for image in sample] == [(20, 16), (20, 16), (512, 26)]  # 0, 2 and 4; 6 cannot be read
    assert len(gallery_index.sample_images(find_images([tmp_path]), 99)) == 7
