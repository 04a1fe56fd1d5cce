"""Images and sentences as visitors send them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.visitor_input import read_image, split_sentences


def test_sentences_one_a_line():
    assert split_sentences("  make it\tred \n\n add a star\n", Limits()) == ["make it red", "add a star"]
    assert split_sentences("a\nb", Limits(texts=2)) == ["a", "b"]
    for nothing in ("", " \n ", None, 3):
        with pytest.raises(InputError, match="the sentence is empty: say what should change"):
            split_sentences(nothing, Limits())
    with pytest.raises(InputError, match="3 sentences are too many at once: give up to 2, one a line"):
        split_sentences("a\nb\nc", Limits(texts=2))
    with pytest.raises(InputError, match="a sentence of 401 characters is too long: give up to 400"):
        split_sentences("x" * 401, Limits())


def test_a_picture_is_upright(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    file = tmp_path / "sideways.png"
    Image.fromarray(pixels).save(file, exif=exif)
    found = read_image(str(file), "mine.png", Limits())
    assert found.image.size == (20, 30)
    assert (np.asarray(found.image)[:15] == 250).all()
    assert (found.name, found.content) == ("mine.png", file.read_bytes())


def png_header(width, height):
    """A PNG that says how large it is and holds nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
    )


def test_size_is_looked_at_before_decoding(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(png_header(5001, 5000))
    with pytest.raises(InputError, match=r"bomb\.png is too large to decode: 5001 x 5000 pixels\. Shrink it"):
        read_image(str(file), "bomb.png", Limits())
    file.write_bytes(png_header(5000, 5000))
    with pytest.raises(InputError, match=r"bomb\.png is truncated or damaged"):
        read_image(str(file), "bomb.png", Limits())


def test_what_is_no_picture(tmp_path):
    file = tmp_path / "x"
    for content, said in ((b"hello", "notes.txt is not a picture of a known format"), (b"", "notes.txt is empty")):
        file.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_image(str(file), "notes.txt", Limits())
    file.write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match=r"notes\.txt is larger than 0\.001 MB: shrink it"):
        read_image(str(file), "notes.txt", Limits(upload_mb=0.001))
    with pytest.raises(
        InputError, match=r"gone\.png is no longer here, since files are kept for an hour: give it again"
    ):
        read_image(str(tmp_path / "gone"), "gone.png", Limits())
