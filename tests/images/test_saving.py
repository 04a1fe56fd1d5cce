"""Images written to files, whole or not at all."""

import os

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.images import reading as images
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.saving import safe_save


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "PNG"])
def test_save_by_suffix(tmp_path, photo, suffix):
    path = tmp_path / f"a.{suffix}"
    safe_save(Image.fromarray(photo), path)
    difference = np.abs(np.asarray(open_image(path)).astype(int) - photo)
    assert difference.mean() <= (0 if suffix.lower() == "png" else 6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def test_save_format_array_and_quality(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    safe_save(noise, tmp_path / "picture", format="png")
    assert (np.asarray(open_image(tmp_path / "picture")) == noise).all()
    safe_save(noise, tmp_path / "low.jpg", quality=20)
    safe_save(noise, str(tmp_path / "high.jpg"))
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size
    safe_save(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), tmp_path / "clear.jpg")
    assert open_image(tmp_path / "clear.jpg").getpixel((1, 1)) == (255, 255, 255)


def test_save_refuses_to_overwrite(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(OutputExistsError) as caught:
        safe_save(Image.new("RGB", (2, 2)), path)
    assert str(caught.value) == f"{path} is there already: choose another name or ask to overwrite"
    assert path.read_text() == "mine"
    safe_save(Image.new("RGB", (2, 2)), path, overwrite=True)
    assert open_image(path).size == (2, 2)


@pytest.mark.parametrize(("name", "kind"), [("a.tiff", None), ("a", None), ("a.png", "gif")])
def test_save_unknown_format(tmp_path, name, kind):
    with pytest.raises(InputError) as caught:
        safe_save(Image.new("RGB", (2, 2)), tmp_path / name, format=kind)
    assert str(caught.value) == f"cannot tell the image format of {tmp_path / name}: use one of png, jpg, webp"


def test_save_into_a_missing_folder_or_onto_one(tmp_path):
    safe_save(Image.new("RGB", (2, 2)), tmp_path / "new" / "a.png")
    assert open_image(tmp_path / "new" / "a.png").size == (2, 2)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*b\.png: it is a folder"):
        safe_save(Image.new("RGB", (2, 2)), tmp_path / "b.png", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "new"]


def test_save_into_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images.Path, "open", refuse)
    with pytest.raises(InputError) as caught:
        safe_save(Image.new("RGB", (2, 2)), tmp_path / "a.png")
    advice = "change its permissions, or choose another place"
    assert str(caught.value) == f"cannot write {tmp_path / 'a.png'}: Permission denied: {advice}"


def test_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("mine")

    def half(self, stream, *args, **kwargs):
        stream.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(InputError, match="No space left on device"):
        safe_save(Image.new("RGB", (2, 2)), path, overwrite=True)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
