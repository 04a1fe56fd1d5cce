"""Files that are whole or not there."""

import pytest

from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.writing import atomic_file, check_writable


def test_written_with_missing_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with atomic_file(path) as stream:
        stream.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail():
        with atomic_file(path, overwrite=True) as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_existing_files_are_kept(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="is there already"), atomic_file(path):
        pass
    with atomic_file(path, overwrite=True) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder"):
        check_writable(tmp_path / "file" / "below" / "it")
    with pytest.raises(InputError, match="it is a folder"):
        check_writable(tmp_path)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="no permission to write into"):
        check_writable(tmp_path / "new")


def test_a_full_disk_is_said(tmp_path):
    with (
        pytest.raises(InputError, match=r"No space left on device: free some space, or write to"),
        atomic_file(tmp_path / "file"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
