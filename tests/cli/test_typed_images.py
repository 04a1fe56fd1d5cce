"""Images as they are named on the command line."""

import io
import sys

import pytest

from mmgrad_explain.cli.typed_images import check_files, open_typed_image
from mmgrad_explain.errors import InputError
from mmgrad_explain.images import reading


def stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_path(picture, picture_file):
    assert open_typed_image(str(picture_file)).tobytes() == picture.tobytes()


def test_a_dash_is_standard_input(picture, picture_file, monkeypatch):
    stdin(monkeypatch, picture_file.read_bytes())
    assert open_typed_image("-").tobytes() == picture.tobytes()


def test_standard_input_that_is_empty(monkeypatch):
    stdin(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input is empty: pipe a picture into it, or name a file"):
        open_typed_image("-")


def test_standard_input_without_an_end(monkeypatch):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert 0 < size < 2**24
            return bytes(size)

    monkeypatch.setattr(reading, "MAX_PIXELS", 10**6)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Endless()})())
    with pytest.raises(InputError, match="standard input gives more than 4 MB"):
        open_typed_image("-")


def test_only_missing_files_are_refused_before_the_work(picture_file, tmp_path):
    """A file that is damaged is named when it is opened, so that it stops no other."""
    (tmp_path / "damaged.png").write_bytes(b"x")
    check_files([str(picture_file), "-", str(tmp_path / "damaged.png")])
    with pytest.raises(InputError, match="no such file"):
        check_files([str(picture_file), str(tmp_path / "quary.png")])
