"""An empty folder to work in, and files that are no images."""

import struct
import zlib

import pytest


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture
def bad_files(picture_file, tmp_path):
    whole = picture_file.read_bytes()
    files = {
        "empty.png": b"",
        "text.jpg": b"this is no picture",
        "cut.png": whole[: len(whole) // 2],
        "bomb.png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path
