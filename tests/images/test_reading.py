"""Images as people have them: files, bytes, arrays, tensors, of every kind; what cannot be read."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from mmgrad_explain._system import user_files as reading
from mmgrad_explain.errors import InputError
from mmgrad_explain.images import reading as images
from mmgrad_explain.images.reading import MAX_PIXELS, open_image
from mmgrad_explain.images.reading_notes import notes_of_image
from mmgrad_explain.images.values import as_array
from mmgrad_explain.notes import Note


def _quadrants(height=24, width=36):
    """Four colours, one a quadrant: tells every turn and mirror apart, and survives JPEG."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = (220, 30, 30)
    array[: height // 2, width // 2 :] = (30, 200, 30)
    array[height // 2 :, : width // 2] = (30, 30, 210)
    array[height // 2 :, width // 2 :] = (240, 240, 60)
    return array


def _ramp16():
    return np.linspace(0, 65535, 64 * 48).round().astype(np.uint16).reshape(48, 64)


def _bytes(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _png(width, height, depth=8, color=2, rows=b""):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _assert_close(image, expected, tolerance=0):
    assert image.mode == "RGB"
    assert image.size == (expected.shape[1], expected.shape[0])
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


# Where it comes from.


@pytest.mark.parametrize("how", ["str", "path", "bytes", "bytearray", "memoryview", "file", "stream at its end", "pil"])
def test_every_source_gives_the_same_picture(tmp_path, how):
    array = _quadrants()
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
    _assert_close(open_image(source), array)
    if how in ("file", "stream at its end"):
        assert not source.closed
        source.close()


def test_stream_that_cannot_seek(tmp_path):
    data = _bytes(Image.fromarray(_quadrants()), "PNG")
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writer:
        writer.write(data)
    with os.fdopen(read_end, "rb") as reader:
        _assert_close(open_image(reader), _quadrants())
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    _assert_close(open_image(fifo), _quadrants())
    writer.join()


def test_result_is_new_and_has_no_metadata():
    image = Image.fromarray(_quadrants())
    image.info["exif"] = b"Exif\0\0"
    opened = open_image(image)
    assert opened is not image
    assert opened.info == {}
    opened.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (220, 30, 30)
    assert image.info == {"exif": b"Exif\0\0"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "int64", "float32", "float64", "float16", "[0, 255]"])
@pytest.mark.parametrize("layout", ["HW", "HW1", "1HW", "HWC", "CHW"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_arrays_and_tensors(dtype, layout, kind):
    gray = _quadrants()[..., 0] // 128 * 255 if dtype == "bool" else _quadrants()[..., 0]
    color = np.stack([gray, 255 - gray, gray], -1)
    values, expected = {
        "HW": (gray, np.stack([gray] * 3, -1)),
        "HW1": (gray[..., None], np.stack([gray] * 3, -1)),
        "1HW": (gray[None], np.stack([gray] * 3, -1)),
        "HWC": (color, color),
        "CHW": (color.transpose(2, 0, 1), color),
    }[layout]
    values = {
        "uint8": lambda v: v,
        "uint16": lambda v: v.astype(np.uint16) * 257,
        "bool": lambda v: v > 127,
        "int64": lambda v: v.astype(np.int64),
        "[0, 255]": lambda v: v.astype(np.float32),
    }.get(dtype, lambda v: (v / 255).astype(dtype))(values)
    source = torch.from_numpy(np.ascontiguousarray(values)) if kind == "tensor" else values
    _assert_close(open_image(source), expected)


def test_bfloat16_and_gradients():
    tensor = torch.rand(3, 8, 9, dtype=torch.bfloat16, requires_grad=True)
    expected = (tensor.detach().float() * 255).round().permute(1, 2, 0).numpy()
    _assert_close(open_image(tensor), expected)


def test_ambiguous_shapes_follow_the_kind():
    values = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    _assert_close(open_image(values), values)
    _assert_close(open_image(torch.from_numpy(values)), values.transpose(1, 2, 0))


def test_rgba_array_is_laid_on_white():
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3, 3] = 255
    image = np.asarray(open_image(rgba))
    assert (image[:, :3] == 0).all()
    assert (image[:, 3:] == 255).all()


def test_slight_overshoot_of_a_resize_is_clipped():
    values = np.array([[-0.05, 0.5, 1.08]])
    assert np.asarray(open_image(values))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), np.nan), "the image holds NaN or infinite values"),
        (np.full((4, 4), np.inf), "the image holds NaN or infinite values"),
        (
            np.array([[-2.1, 2.6]]),
            r"values from -2.1 to 2.6: give floats in \[0, 1\] or .* \(undo a model's normalization",
        ),
        (np.array([[0.0, 300.0]]), "values from 0 to 300"),
        (np.array([[-1, 3]]), "values from -1 to 3"),
        (np.zeros((2, 3, 8, 8)), r"shape \(H, W\), \(H, W, 1\|3\|4\) or \(1\|3\|4, H, W\), not \(2, 3, 8, 8\)"),
        (np.zeros((8, 8, 2)), r"not \(8, 8, 2\)"),
        (np.zeros(5), r"not \(5,\)"),
        (np.zeros((0, 5, 3)), r"the image is empty: shape \(0, 5, 3\)"),
        (torch.zeros(3, 0, 4), r"the image is empty: shape \(3, 0, 4\)"),
    ],
)
def test_arrays_that_are_no_picture(values, message):
    with pytest.raises(InputError, match=message):
        open_image(values)


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
        assert _message(stream).startswith(f"{path} is not an image")
    assert _message(io.BytesIO(b"no picture")).startswith("the image is not an image")
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as stream:  # its name is a number
        assert _message(stream).startswith("the image is not an image")


def test_as_array():
    assert as_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True)).dtype == np.float32
    assert as_array(torch.ones(2, dtype=torch.int32)).dtype == np.int32
    assert as_array(Image.new("L", (3, 2))).shape == (2, 3)
    with pytest.raises(TypeError, match="expected an array, a tensor or a PIL image, not list"):
        as_array([1])


# Photo kinds.

_UNDONE_BY = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how to store an upright picture, by orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation, kind):
    array = _quadrants()
    image = Image.fromarray(array)
    if _UNDONE_BY[orientation] is not None:
        image = image.transpose(Image.Transpose(_UNDONE_BY[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    data = _bytes(image, kind, exif=exif, **options)
    for source in (data, Image.open(io.BytesIO(data))):
        opened = open_image(source)
        _assert_close(opened, array, 40 if kind == "JPEG" else 0)
        _assert_close(open_image(opened), np.asarray(opened))  # turned once, not twice


@pytest.mark.parametrize("filters", ["ignore", "error"])
def test_damaged_exif_is_ignored(filters):
    data = _bytes(Image.fromarray(_quadrants()), "PNG", exif=b"Exif\0\0II*\0garbage")
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        _assert_close(open_image(data), _quadrants())


def test_orientation_survives_conversion_of_16_bit():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = _bytes(Image.fromarray(_ramp16()).transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    _assert_close(open_image(data), np.repeat(((_ramp16().astype(int) + 128) // 257)[..., None], 3, -1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "mode I", "mode F", "big endian"])
def test_16_bit_gray_is_scaled(kind):
    ramp = _ramp16()
    if kind == "mode I":
        source = Image.fromarray(ramp.astype(np.int32))
    elif kind == "mode F":
        source = Image.fromarray((ramp / 65535).astype(np.float32))
    elif kind == "big endian":
        source = ramp.astype(">u2")
    else:
        source = _bytes(Image.fromarray(ramp), kind)
    _assert_close(open_image(source), np.repeat((ramp / 257).round()[..., None], 3, -1))


def test_dark_16_bit_stays_dark_and_is_said():
    for source in (np.full((4, 4), 200, np.uint16), Image.fromarray(np.full((4, 4), 200, np.uint16))):
        assert np.asarray(open_image(source)).max() == 1
        assert [note.kind for note in notes_of_image(open_image(source))] == ["image-values"]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["array", "tensor", "PNG", "TIFF", "mode I"])
def test_fewer_than_16_bits_are_scaled_by_their_own_range(bits, kind):
    top = 2**bits - 1
    values = np.linspace(0, top, 48 * 64).round().astype(np.uint16).reshape(48, 64)
    source = {
        "array": lambda: values,
        "tensor": lambda: torch.from_numpy(values.astype(np.int32)),
        "mode I": lambda: Image.fromarray(values.astype(np.int32)),
    }.get(kind, lambda: _bytes(Image.fromarray(values), kind))()
    opened = open_image(source)
    _assert_close(opened, np.repeat((values * (255 / top)).round()[..., None], 3, -1), 1)
    said = f"the image's 16-bit values need only {bits} bits and were scaled by their range, 0 to {top}"
    assert [note.text for note in notes_of_image(opened)] == ([said] if bits < 16 else [])


def test_mode_i_of_8_bit_and_of_32_bit_values():
    assert np.asarray(open_image(Image.fromarray(np.array([[0, 200]], np.int32))))[0, 1, 0] == 200
    wide = Image.fromarray(np.array([[0, 200_000, 1_000_000]], np.int32))
    assert np.asarray(open_image(wide))[0, :, 0].tolist() == [0, 51, 255]


def test_16_bit_rgb():
    values = np.stack([_ramp16(), _ramp16()[::-1], _ramp16()[:, ::-1]], -1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    _assert_close(open_image(_png(64, 48, depth=16, rows=rows)), values / 257, tolerance=1)


def test_cmyk():
    cmyk = Image.fromarray(_quadrants()).convert("CMYK")
    _assert_close(open_image(_bytes(cmyk, "JPEG", quality=100)), _quadrants(), 40)
    _assert_close(open_image(cmyk), _quadrants(), 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBX", "YCbCr", "HSV"])
def test_other_modes_look_as_pillow_shows_them(mode):
    image = Image.fromarray(_quadrants()).convert(mode)
    _assert_close(open_image(image), np.asarray(image.convert("RGB")))


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
        source = _bytes(image, "PNG", transparency=key)
    elif mode == "P":
        source = _bytes(image.quantize(8), "PNG")
    elif mode == "PA":
        image = image.convert("RGB").quantize(2).convert("PA")
        image.putalpha(Image.fromarray(np.ascontiguousarray(rgba[..., 3])))
        source = image
    elif mode == "RGBa":
        source = image.convert("RGBa")
    else:
        source = _bytes(image.convert(mode), "PNG")
    opened = np.asarray(open_image(source)).astype(int)
    assert np.abs(opened[:, :15] - color).max() <= 4
    assert (opened[:, 15:] == 255).all()


def test_half_transparency_mixes():
    assert open_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_and_it_is_said(kind):
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    data = _bytes(first, kind, save_all=True, append_images=[second, second.rotate(180)], duration=[100, 200, 300])
    opened = open_image(data)
    _assert_close(opened, np.asarray(first), 3)
    count = Image.open(io.BytesIO(data)).n_frames
    assert notes_of_image(opened) == (Note("first-image", f"the first of {count} images in the file is used"),)
    assert notes_of_image(open_image(opened)) == notes_of_image(opened)
    with Image.open(io.BytesIO(data)) as stack:
        stack.seek(1)
        (note,) = notes_of_image(open_image(stack))
        assert note.text == f"image 2 of {count} images in the file is used"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "JPEG", "MPO"])
def test_one_picture_and_a_cameras_preview_need_no_note(kind):
    picture = Image.new("RGB", (20, 10), (200, 0, 0))
    more = {"save_all": True, "append_images": [picture.copy()]} if kind == "MPO" else {}
    assert notes_of_image(open_image(_bytes(picture, kind, **more))) == ()


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
    data = _bytes(image, kind if kind == "JPEG" else "PNG", icc_profile=_profile(_P3))
    assert np.abs(np.array(open_image(data).getpixel((8, 8))) - expected).max() <= 3


def test_srgb_profile_changes_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _assert_close(open_image(_bytes(Image.fromarray(_quadrants()), "PNG", icc_profile=srgb)), _quadrants())


@pytest.mark.parametrize("profile", [b"nonsense", b"", _profile(_P3, space=b"CMYK")])
def test_profile_that_does_not_belong_is_ignored(profile):
    _assert_close(open_image(_bytes(Image.fromarray(_quadrants()), "PNG", icc_profile=profile)), _quadrants())


def test_without_littlecms_profiles_are_ignored(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("no LittleCMS")

    monkeypatch.setattr(images.ImageCms, "createProfile", missing)
    data = _bytes(Image.fromarray(_quadrants()), "PNG", icc_profile=_profile(_P3))
    _assert_close(open_image(data), _quadrants())


# What cannot be read.


def _message(source, **options):
    with pytest.raises(InputError) as caught:
        open_image(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_such_file(tmp_path):
    for name in ("holiday.JPG", "dog.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    wanted = tmp_path / "holyday.jpg"
    assert _message(wanted) == f"no such file: {wanted}. Did you mean 'holiday.JPG'?"
    assert _message(tmp_path / "zzzzzzzz") == f"no such file: {tmp_path / 'zzzzzzzz'}: check its name"
    assert _message(tmp_path / "no" / "a.png") == (
        f"no such file: {tmp_path / 'no' / 'a.png'} (its folder: No such file or directory)"
    )
    assert _message("") == ". is a folder: name an image in it"


def test_a_folder(tmp_path):
    assert _message(tmp_path) == f"{tmp_path} is a folder: name an image in it"


def test_paths_the_system_refuses(tmp_path):
    assert _message("a\0b.png").startswith(r"'a\x00b.png' cannot be opened: ")  # the rest is Python's own
    assert _message(tmp_path / ("a" * 300)).endswith("cannot be opened: File name too long")


def test_empty_file(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert _message(path) == f"{path} is empty (0 bytes)"
    assert _message(b"") == "the image is empty (0 bytes)"


def test_not_a_picture(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello, this is no picture")
    assert _message(path) == f"{path} is not an image of a known format (convert HEIC to JPEG first)"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(_bytes(Image.fromarray(noise), kind)[:2000])
    assert _message(path).startswith(f"{path} is truncated or damaged: ")


def test_truncated_in_the_header_and_in_a_pil_image():
    data = _bytes(Image.fromarray(_quadrants(200, 200)), "JPEG")
    for head in (data[:30], _bytes(Image.fromarray(_quadrants()), "TIFF")[:6]):
        message = _message(head)
        assert message.startswith("the image is truncated or damaged: ")
        assert "<" not in message
    assert _message(Image.open(io.BytesIO(data[:700]))).startswith("the image is truncated or damaged: image file is")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "ICO"])
def test_random_damage_is_an_input_error_or_a_picture(kind):
    generator = np.random.default_rng(5)
    whole = np.frombuffer(_bytes(Image.fromarray(_quadrants()), kind), np.uint8)
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
    whole = _bytes(Image.fromarray(_quadrants()).convert("P"), "PNG", transparency=3)
    path = tmp_path / "a.png"
    path.write_bytes(whole[:8] + b"".join(chunk for chunk in _chunks(whole) if chunk[4:8] not in left_out))
    if left_out in ((b"tRNS",), (b"IEND",)):
        assert open_image(path).size == (36, 24)
    else:
        assert str(path) in _message(path)


@pytest.mark.parametrize(
    "error", [AssertionError(), SyntaxError("x"), OverflowError("x"), IndexError("x"), KeyError("x"), struct.error("x"),
              zlib.error("x"), EOFError(), TypeError("x"), MemoryError(), RecursionError("x")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["load", "convert", "has_transparency_data"])
def test_whatever_pillow_raises_is_said_of_the_file(tmp_path, monkeypatch, where, error):
    path = tmp_path / "a.png"
    Image.fromarray(_quadrants()).convert("P").save(path)

    def broken(*_, **__):
        raise error

    from PIL import PngImagePlugin

    value = property(broken) if where == "has_transparency_data" else broken
    monkeypatch.setattr(PngImagePlugin.PngImageFile, where, value)
    assert _message(path).startswith(f"{path} is truncated or damaged: ")


def test_a_damaged_profile_is_ignored():
    data = _bytes(Image.fromarray(_quadrants()), "PNG", icc_profile=b"no profile")
    _assert_close(open_image(data), _quadrants())


def test_a_file_that_was_closed():
    file = io.BytesIO(b"x")
    file.close()
    assert _message(file) == "the image cannot be read: I/O operation on closed file."


def test_streams_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_PATIENCE", 0.05)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert _message(fifo) == f"nothing has come from {fifo} for 0.05 seconds: is somebody writing into it?"
    assert _message("/dev/zero", max_pixels=10) == "/dev/zero gives more than 1 MB, which is more than can be taken"
    assert _message("/dev/null") == "/dev/null is empty (0 bytes)"
    assert _message(_Endless(), max_pixels=10) == "stdin gives more than 1 MB, which is more than can be taken"


class _Endless:
    """Standard input that somebody sends zeros into."""

    name = "stdin"

    def read(self, size):
        return bytes(size)


@pytest.mark.parametrize("filters", ["error", "ignore", "always"])
@pytest.mark.parametrize("side", [13_378, 20_000, 60_000])
def test_decompression_bomb_is_refused_by_its_header(tmp_path, filters, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(side, side))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        message = _message(path)
    assert message.startswith(f"{path} is too large to decode: ")
    assert str(side) in message or str(side * side) in message
    assert not seen


def test_max_pixels():
    data = _bytes(Image.new("RGB", (30, 20)), "PNG")
    assert MAX_PIXELS == 178_956_970
    assert open_image(data, max_pixels=600).size == (30, 20)
    expected = "the image is too large to decode: 30 x 20 pixels. Shrink it, or raise max_pixels (599)"
    assert _message(data, max_pixels=599) == expected
    assert _message(Image.open(io.BytesIO(data)), max_pixels=599) == expected


@pytest.mark.parametrize("filters", ["error", "always"])
def test_pillows_own_warning_is_never_seen(monkeypatch, filters):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        before = list(warnings.filters)
        assert open_image(_bytes(Image.new("RGB", (30, 20)), "PNG")).size == (30, 20)
        assert warnings.filters == before
    assert not seen
    assert "(PIL.Image.MAX_IMAGE_PIXELS)" in _message(_bytes(Image.new("RGB", (60, 20)), "PNG"))


def test_zero_size():
    assert _message(Image.new("RGB", (0, 5))) == "the image is empty: 0 x 5 pixels"
    assert _message(_png(0, 5)).startswith("the image is")


def test_import_is_light():
    loaded = "{'torch', 'matplotlib', 'cv2'} & set(sys.modules)"
    code = f"import sys, mmgrad_explain.images.reading as i; print(sorted({loaded}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"


def test_a_picture_that_is_a_program_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "script.eps")
    with pytest.raises(InputError, match="is an EPS file, which another program must run: convert it to PNG"):
        open_image(tmp_path / "script.eps")
