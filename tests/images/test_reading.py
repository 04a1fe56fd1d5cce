"""Images as people have them: files, bytes and streams, of every mode, with orientation, profile and transparency."""

import importlib.util
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmgrad_explain.images import reading as images
from mmgrad_explain.images.reading import open_image

_SPEC = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
image_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(image_files)


# Where it comes from.


@pytest.mark.parametrize("how", ["str", "path", "bytes", "bytearray", "memoryview", "file", "stream at its end", "pil"])
def test_every_source_gives_the_same_picture(tmp_path, how):
    array = image_files.quadrants()
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    data = path.read_bytes()
    at_its_end = io.BytesIO(data)
    at_its_end.seek(0, io.SEEK_END)
    source = {
        "str": lambda: str(path),
        "path": lambda: path,
        "bytes": lambda: data,
        "bytearray": lambda: bytearray(data),
        "memoryview": lambda: memoryview(data),
        "file": lambda: path.open("rb"),
        "stream at its end": lambda: at_its_end,
        "pil": lambda: Image.open(io.BytesIO(data)),
    }[how]()
    image_files.assert_close(open_image(source), array)
    if how in ("file", "stream at its end"):
        assert not source.closed
        source.close()


def test_stream_that_cannot_seek(tmp_path):
    data = image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG")
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writer:
        writer.write(data)
    with os.fdopen(read_end, "rb") as reader:
        image_files.assert_close(open_image(reader), image_files.quadrants())
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    image_files.assert_close(open_image(fifo), image_files.quadrants())
    writer.join()


def test_result_is_new_and_has_no_metadata():
    image = Image.fromarray(image_files.quadrants())
    image.info["exif"] = b"Exif\0\0"
    opened = open_image(image)
    assert opened is not image
    assert opened.info == {}
    opened.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (220, 30, 30)
    assert image.info == {"exif": b"Exif\0\0"}


def test_rgba_array_is_laid_on_white():
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3, 3] = 255
    image = np.asarray(open_image(rgba))
    assert (image[:, :3] == 0).all()
    assert (image[:, 3:] == 255).all()


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], {"image": 1}, np.array([["a"]]), np.zeros((2, 2), complex)])
def test_wrong_types(source):
    with pytest.raises(TypeError, match=r"an image (is a path|holds)"):
        open_image(source)


def test_text_stream_is_a_wrong_type():
    with pytest.raises(TypeError, match=r"opened in binary mode \('rb'\)"):
        open_image(io.StringIO("hello"))


def test_messages_name_the_stream_where_it_has_a_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("no picture")
    with path.open("rb") as stream:
        assert image_files.message_of(stream).startswith(f"{path} is not an image")
    assert image_files.message_of(io.BytesIO(b"no picture")).startswith("the image is not an image")
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as stream:  # its name is a number
        assert image_files.message_of(stream).startswith("the image is not an image")


# Photo kinds.

_UNDONE_BY = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how to store an upright picture, by orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation, kind):
    array = image_files.quadrants()
    image = Image.fromarray(array)
    if _UNDONE_BY[orientation] is not None:
        image = image.transpose(Image.Transpose(_UNDONE_BY[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    data = image_files.as_bytes(image, kind, exif=exif, **options)
    for source in (data, Image.open(io.BytesIO(data))):
        opened = open_image(source)
        image_files.assert_close(opened, array, 40 if kind == "JPEG" else 0)
        image_files.assert_close(open_image(opened), np.asarray(opened))  # turned once, not twice


@pytest.mark.parametrize("filters", ["ignore", "error"])
def test_damaged_exif_is_ignored(filters):
    data = image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG", exif=b"Exif\0\0II*\0garbage")
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        image_files.assert_close(open_image(data), image_files.quadrants())


def test_orientation_survives_conversion_of_16_bit():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = image_files.as_bytes(
        Image.fromarray(image_files.ramp16()).transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif
    )
    image_files.assert_close(
        open_image(data), np.repeat(((image_files.ramp16().astype(int) + 128) // 257)[..., None], 3, -1)
    )


def test_16_bit_rgb():
    values = np.stack([image_files.ramp16(), image_files.ramp16()[::-1], image_files.ramp16()[:, ::-1]], -1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    image_files.assert_close(open_image(image_files.png(64, 48, depth=16, rows=rows)), values / 257, tolerance=1)


def test_cmyk():
    cmyk = Image.fromarray(image_files.quadrants()).convert("CMYK")
    image_files.assert_close(open_image(image_files.as_bytes(cmyk, "JPEG", quality=100)), image_files.quadrants(), 40)
    image_files.assert_close(open_image(cmyk), image_files.quadrants(), 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBX", "YCbCr", "HSV"])
def test_other_modes_look_as_pillow_shows_them(mode):
    image = Image.fromarray(image_files.quadrants()).convert(mode)
    image_files.assert_close(open_image(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB key", "L key", "RGBa"])
def test_transparency_is_laid_on_white(mode):
    color = (200, 200, 200) if "L" in mode else (220, 30, 40)
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[..., :3] = color
    rgba[:, :15, 3] = 255
    image = Image.fromarray(rgba)
    if mode.endswith("key"):  # one colour stands for transparent
        flat = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(7))
        image = Image.fromarray(flat).convert(mode.split()[0])
        key = 7 if mode == "L key" else (7, 7, 7)
        source = image_files.as_bytes(image, "PNG", transparency=key)
    elif mode == "P":
        source = image_files.as_bytes(image.quantize(8), "PNG")
    elif mode == "PA":
        image = image.convert("RGB").quantize(2).convert("PA")
        image.putalpha(Image.fromarray(np.ascontiguousarray(rgba[..., 3])))
        source = image
    elif mode == "RGBa":
        source = image.convert("RGBa")
    else:
        source = image_files.as_bytes(image.convert(mode), "PNG")
    opened = np.asarray(open_image(source)).astype(int)
    assert np.abs(opened[:, :15] - color).max() <= 4
    assert (opened[:, 15:] == 255).all()


def test_half_transparency_mixes():
    assert open_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def _profile(primaries, gamma=2.2, space=b"RGB "):
    """A minimal ICC profile: three primaries (XYZ under D50) and one gamma."""

    def s15(*values):
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1.0, 0.8249)}
    tags |= {
        name + b"XYZ": b"XYZ \0\0\0\0" + s15(*xyz) for name, xyz in zip((b"r", b"g", b"b"), primaries, strict=True)
    }
    tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + s15(0.9642, 1.0, 0.8249) + bytes(48)
    return header + table + body


_P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
_SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "with alpha"])
def test_colour_profile_is_brought_to_srgb(kind):
    color = np.array([180, 110, 70])
    linear = np.linalg.inv(np.array(_SRGB).T) @ np.array(_P3).T @ (color / 255) ** 2.2
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(expected - color).max() > 8
    image = Image.new("RGB", (16, 16), tuple(color.tolist()))
    if kind == "with alpha":
        image.putalpha(255)
    data = image_files.as_bytes(image, kind if kind == "JPEG" else "PNG", icc_profile=_profile(_P3))
    assert np.abs(np.array(open_image(data).getpixel((8, 8))) - expected).max() <= 3


def test_srgb_profile_changes_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image_files.assert_close(
        open_image(image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG", icc_profile=srgb)),
        image_files.quadrants(),
    )


@pytest.mark.parametrize("profile", [b"nonsense", b"", _profile(_P3, space=b"CMYK")])
def test_profile_that_does_not_belong_is_ignored(profile):
    image_files.assert_close(
        open_image(image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG", icc_profile=profile)),
        image_files.quadrants(),
    )


def test_without_littlecms_profiles_are_ignored(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("no LittleCMS")

    monkeypatch.setattr(images.ImageCms, "createProfile", missing)
    data = image_files.as_bytes(Image.fromarray(image_files.quadrants()), "PNG", icc_profile=_profile(_P3))
    image_files.assert_close(open_image(data), image_files.quadrants())


def test_import_is_light():
    loaded = "{'torch', 'matplotlib', 'cv2'} & set(sys.modules)"
    code = f"import sys, mmgrad_explain.images.reading as i; print(sorted({loaded}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"
