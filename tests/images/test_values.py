"""Arrays, tensors and values of any depth become images of 8 bits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.reading_notes import notes_of_image
from mmgrad_explain.images.values import as_array

_SPEC = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
image_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(image_files)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "int64", "float32", "float64", "float16", "[0, 255]"])
@pytest.mark.parametrize("layout", ["HW", "HW1", "1HW", "HWC", "CHW"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_arrays_and_tensors(dtype, layout, kind):
    gray = image_files.quadrants()[..., 0] // 128 * 255 if dtype == "bool" else image_files.quadrants()[..., 0]
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
    image_files.assert_close(open_image(source), expected)


def test_bfloat16_and_gradients():
    tensor = torch.rand(3, 8, 9, dtype=torch.bfloat16, requires_grad=True)
    expected = (tensor.detach().float() * 255).round().permute(1, 2, 0).numpy()
    image_files.assert_close(open_image(tensor), expected)


def test_ambiguous_shapes_follow_the_kind():
    values = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    image_files.assert_close(open_image(values), values)
    image_files.assert_close(open_image(torch.from_numpy(values)), values.transpose(1, 2, 0))


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


def test_as_array():
    assert as_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True)).dtype == np.float32
    assert as_array(torch.ones(2, dtype=torch.int32)).dtype == np.int32
    assert as_array(Image.new("L", (3, 2))).shape == (2, 3)
    with pytest.raises(TypeError, match="expected an array, a tensor or a PIL image, not list"):
        as_array([1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "mode I", "mode F", "big endian"])
def test_16_bit_gray_is_scaled(kind):
    ramp = image_files.ramp16()
    if kind == "mode I":
        source = Image.fromarray(ramp.astype(np.int32))
    elif kind == "mode F":
        source = Image.fromarray((ramp / 65535).astype(np.float32))
    elif kind == "big endian":
        source = ramp.astype(">u2")
    else:
        source = image_files.as_bytes(Image.fromarray(ramp), kind)
    image_files.assert_close(open_image(source), np.repeat((ramp / 257).round()[..., None], 3, -1))


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
    }.get(kind, lambda: image_files.as_bytes(Image.fromarray(values), kind))()
    opened = open_image(source)
    image_files.assert_close(opened, np.repeat((values * (255 / top)).round()[..., None], 3, -1), 1)
    said = f"the image's 16-bit values need only {bits} bits and were scaled by their range, 0 to {top}"
    assert [note.text for note in notes_of_image(opened)] == ([said] if bits < 16 else [])


def test_mode_i_of_8_bit_and_of_32_bit_values():
    assert np.asarray(open_image(Image.fromarray(np.array([[0, 200]], np.int32))))[0, 1, 0] == 200
    wide = Image.fromarray(np.array([[0, 200_000, 1_000_000]], np.int32))
    assert np.asarray(open_image(wide))[0, :, 0].tolist() == [0, 51, 255]
