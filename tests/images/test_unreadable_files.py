"""Files that cannot be read as images: missing, damaged, too large; each message names the file."""

import contextlib
import importlib.util
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain._system import user_files as reading
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import MAX_PIXELS, open_image

_SPEC = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
image_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(image_files)


def test_no_such_file(tmp_path):
    for name in ("holiday.JPG", "dog.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    wanted = tmp_path / "holyday.jpg"
    assert image_files.message_of(wanted) == f"no such file: {wanted}. Did you mean 'holiday.JPG'?"
    assert image_files.message_of(tmp_path / "zzzzzzzz") == f"no such file: {tmp_path / 'zzzzzzzz'}: check its name"
    assert image_files.message_of(tmp_path / "no" / "a.png") == (
        f"no such file: {tmp_path / 'no' / 'a.png'} (its folder: No such file or directory)"
    )
    assert image_files.message_of("") == ". is a folder: name an image in it"


def test_a_folder(tmp_path):
    assert image_files.message_of(tmp_path) == f"{tmp_path} is a folder: name an image in it"


def test_paths_the_system_refuses(tmp_path):
    assert image_files.message_of("a\0b.png").startswith(r"'a\x00b.png' cannot be opened: ")  # the rest is Python's own
    assert image_files.message_of(tmp_path / ("a" * 300)).endswith("cannot be opened: File name too long")


def test_empty_file(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert image_files.message_of(path) == f"{path} is empty (0 bytes)"
    assert image_files.message_of(b"") == "the image is empty (0 bytes)"


def test_not_a_picture(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello, this is no picture")
    assert image_files.message_of(path) == f"{path} is not an image of a known format (convert HEIC to JPEG first)"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(image_files.as_bytes(Image.fromarray(noise), kind)[:2000])
    assert image_files.message_of(path).startswith(f"{path} is truncated or damaged: ")


def test_truncated_in_the_header_and_in_a_pil_image():
    data = image_files.as_bytes(Image.fromarray(image_files.quadrants(200, 200)), "JPEG")
    for head in (data[:30], image_files.as_bytes(Image.fromarray(image_files.quadrants()), "TIFF")[:6]):
        message = image_files.message_of(head)
        assert message.startswith("the image is truncated or damaged: ")
        assert "<" not in message
    assert image_files.message_of(Image.open(io.BytesIO(data[:700]))).startswith(
        "the image is truncated or damaged: image file is"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "ICO"])
def test_random_damage_is_an_input_error_or_a_picture(kind):
    generator = np.random.default_rng(5)
    whole = np.frombuffer(image_files.as_bytes(Image.fromarray(image_files.quadrants()), kind), np.uint8)
    for _ in range(40):
        data = whole.copy()
        data[generator.integers(0, min(300, len(data)), 6)] = generator.integers(0, 256, 6)
        with warnings.catch_warnings(), contextlib.suppress(InputError):
            warnings.simplefilter("ignore")
            assert open_image(data.tobytes(), max_pixels=1_000_000).mode == "RGB"


def _chunks(data):
    at = 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield data[at : at + 12 + size]
        at += 12 + size


@pytest.mark.parametrize("left_out", [(b"PLTE", b"tRNS"), (b"IHDR",), (b"IDAT",), (b"tRNS",), (b"IEND",)])
def test_a_palette_picture_that_lacks_a_part(tmp_path, left_out):
    """Of these Pillow finds out late, or not at all."""
    whole = image_files.as_bytes(Image.fromarray(image_files.quadrants()).convert("P"), "PNG", transparency=3)
    path = tmp_path / "a.png"
    path.write_bytes(whole[:8] + b"".join(chunk for chunk in _chunks(whole) if chunk[4:8] not in left_out))
    if left_out in ((b"tRNS",), (b"IEND",)):
        assert open_image(path).size == (36, 24)
    else:
        assert str(path) in image_files.message_of(path)


@pytest.mark.parametrize(
    "error", [AssertionError(), SyntaxError("x"), OverflowError("x"), IndexError("x"), KeyError("x"), struct.error("x"),
              zlib.error("x"), EOFError(), TypeError("x"), MemoryError(), RecursionError("x")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["load", "convert", "has_transparency_data"])
def test_whatever_pillow_raises_is_said_of_the_file(tmp_path, monkeypatch, where, error):
    path = tmp_path / "a.png"
    Image.fromarray(image_files.quadrants()).convert("P").save(path)

    def broken(*_, **__):
        raise error

    from PIL import PngImagePlugin

    value = property(broken) if where == "has_transparency_data" else broken
    monkeypatch.setattr(PngImagePlugin.PngImageFile, where, value)
    assert image_files.message_of(path).startswith(f"{path} is truncated or damaged: ")


def test_a_damaged_profile_is_ignored():
    data = image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG", icc_profile=b"no profile")
    image_files.assert_close(open_image(data), image_files.quadrants())


def test_a_file_that_was_closed():
    file = io.BytesIO(b"x")
    file.close()
    assert image_files.message_of(file) == "the image cannot be read: I/O operation on closed file."


def test_streams_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_PATIENCE", 0.05)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert (
        image_files.message_of(fifo) == f"nothing has come from {fifo} for 0.05 seconds: is somebody writing into it?"
    )
    assert (
        image_files.message_of("/dev/zero", max_pixels=10)
        == "/dev/zero gives more than 1 MB, which is more than can be taken"
    )
    assert image_files.message_of("/dev/null") == "/dev/null is empty (0 bytes)"
    assert (
        image_files.message_of(_Endless(), max_pixels=10)
        == "stdin gives more than 1 MB, which is more than can be taken"
    )


class _Endless:
    """Standard input that somebody sends zeros into."""

    name = "stdin"

    def read(self, size):
        return bytes(size)


@pytest.mark.parametrize("filters", ["error", "ignore", "always"])
@pytest.mark.parametrize("side", [13_378, 20_000, 60_000])
def test_decompression_bomb_is_refused_by_its_header(tmp_path, filters, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(image_files.png(side, side))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        message = image_files.message_of(path)
    assert message.startswith(f"{path} is too large to decode: ")
    assert str(side) in message or str(side * side) in message
    assert not seen


def test_max_pixels():
    data = image_files.as_bytes(Image.new("RGB", (30, 20)), "PNG")
    assert MAX_PIXELS == 178_956_970
    assert open_image(data, max_pixels=600).size == (30, 20)
    expected = "the image is too large to decode: 30 x 20 pixels. Shrink it, or raise max_pixels (599)"
    assert image_files.message_of(data, max_pixels=599) == expected
    assert image_files.message_of(Image.open(io.BytesIO(data)), max_pixels=599) == expected


@pytest.mark.parametrize("filters", ["error", "always"])
def test_pillows_own_warning_is_never_seen(monkeypatch, filters):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        before = list(warnings.filters)
        assert open_image(image_files.as_bytes(Image.new("RGB", (30, 20)), "PNG")).size == (30, 20)
        assert warnings.filters == before
    assert not seen
    assert "(PIL.Image.MAX_IMAGE_PIXELS)" in image_files.message_of(
        image_files.as_bytes(Image.new("RGB", (60, 20)), "PNG")
    )


def test_zero_size():
    assert image_files.message_of(Image.new("RGB", (0, 5))) == "the image is empty: 0 x 5 pixels"
    assert image_files.message_of(image_files.png(0, 5)).startswith("the image is")


def test_a_picture_that_is_a_program_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "script.eps")
    with pytest.raises(InputError, match="is an EPS file, which another program must run: convert it to PNG"):
        open_image(tmp_path / "script.eps")
