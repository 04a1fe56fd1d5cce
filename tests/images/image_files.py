"""Small images, image files, and what reading one gives; for the tests beside this file."""

import io
import struct
import zlib

import numpy as np
import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image


def quadrants(height=24, width=36):
    """Four colours, one a quadrant: tells every turn and mirror apart, and survives JPEG."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = (220, 30, 30)
    array[: height // 2, width // 2 :] = (30, 200, 30)
    array[height // 2 :, : width // 2] = (30, 30, 210)
    array[height // 2 :, width // 2 :] = (240, 240, 60)
    return array


def ramp16():
    return np.linspace(0, 65535, 64 * 48).round().astype(np.uint16).reshape(48, 64)


def as_bytes(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width, height, depth=8, color=2, rows=b""):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def assert_close(image, expected, tolerance=0):
    assert image.mode == "RGB"
    assert image.size == (expected.shape[1], expected.shape[0])
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def message_of(source, **options):
    with pytest.raises(InputError) as caught:
        open_image(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
