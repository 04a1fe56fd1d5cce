"""Files that are whole or not there."""

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmgrad_explain._system.files import atomic_file, check_writable, is_standard_output, write_next_free
from mmgrad_explain.errors import InputError, OutputExistsError

posix = pytest.mark.skipif(os.name != "posix", reason="devices and pipes as Unix has them")


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


# -------------------------------------------------------------------------------- what appears in the meantime


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "file"

    def write():
        with atomic_file(path) as stream:
            stream.write(b"late")
            path.write_bytes(b"early")

    with pytest.raises(OutputExistsError, match="file is there already"):
        write()
    assert path.read_bytes() == b"early"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_systems_without_links(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.link", refuse)
    test_a_file_that_appears_meanwhile_is_kept(tmp_path)
    with atomic_file(tmp_path / "new") as stream:
        stream.write(b"whole")
    assert (tmp_path / "new").read_bytes() == b"whole"


def test_many_threads_get_a_name_each(tmp_path):
    together = threading.Barrier(8)

    def write(content):
        def put(file):
            with atomic_file(file) as stream:
                stream.write(content)

        together.wait()
        return write_next_free(tmp_path / "map.v2.png", put)

    contents = [bytes([number]) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(write, contents))
    assert [file.read_bytes() for file in files] == contents
    assert {p.name for p in tmp_path.iterdir()} == {"map.v2.png", *(f"map.v2-{number}.png" for number in range(2, 9))}


# -------------------------------------------------------------------------------- links, devices, permissions


def write(path, content, **options):
    with atomic_file(path, **options) as stream:
        stream.write(content)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real/file")
    with pytest.raises(OutputExistsError):
        write(link, b"new")
    write(link, b"new", overwrite=True)
    assert link.is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["file"]
    other = tmp_path / "dangling"
    other.symlink_to("real/new")
    write(other, b"first")
    assert other.is_symlink()
    assert (tmp_path / "real" / "new").read_bytes() == b"first"


def test_permissions_stay(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for mode in (0o600, 0o664, 0o444):
        path.chmod(mode)
        write(path, b"new", overwrite=True)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


@posix
def test_dev_null_stays_a_device(tmp_path):
    before = Path("/dev/null").stat()
    for path in (Path("/dev/null"), tmp_path / "null"):
        if path.parent == tmp_path:
            path.symlink_to("/dev/null")
        check_writable(path)
        write(path, b"gone")
        write(path, b"gone", overwrite=True)
    assert Path("/dev/null").stat().st_rdev == before.st_rdev
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@posix
def test_a_pipe_gets_all_or_nothing(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def fail():
        with atomic_file(pipe, overwrite=True) as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    write(pipe, b"whole")
    assert os.read(reading, 100) == b"whole"
    os.close(reading)
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


@posix
def test_descriptors_of_this_process(tmp_path):
    """As of ``> file``: what was written before and comes after stays where it belongs."""
    file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    os.write(file, b"before ")
    (tmp_path / "link").symlink_to(f"/dev/fd/{file}")
    write(Path(f"/dev/fd/{file}"), b"content ")
    write(tmp_path / "link", b"more ", overwrite=True)
    os.write(file, b"after")
    os.close(file)
    assert (tmp_path / "file").read_bytes() == b"before content more after"


@posix
def test_standard_output_by_its_names(tmp_path):
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "1").touch()
    assert [is_standard_output(Path(name)) for name in ("/dev/stdout", "/dev/fd/1", tmp_path / "link")] == [True] * 3
    assert not any(is_standard_output(Path(name)) for name in ("/dev/stderr", "/dev/null", "1", tmp_path / "1"))


@posix
def test_a_pipe_that_nobody_may_write_to(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="pipe: no permission to write into it"):
        check_writable(tmp_path / "pipe", overwrite=True)


def test_a_disk_is_not_written_to(tmp_path, monkeypatch):
    (tmp_path / "disk").touch()
    monkeypatch.setattr(Path, "is_block_device", lambda _: True)
    with pytest.raises(InputError, match="disk: it is a disk"):
        check_writable(tmp_path / "disk", overwrite=True)
