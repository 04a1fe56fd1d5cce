"""Images as arrays: the order of the axes, and values of any type to 8 bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

_CHANNELS = (1, 3, 4)
_BITS = (10, 12, 14)  # of cameras and scanners, stored in 16


def move_channels_last(array: npt.NDArray[Any], *, first: bool) -> npt.NDArray[Any]:
    """Move the channels of an image to the last axis.

    Args:
        array: (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4.
        first: Whether an ambiguous shape is (C, H, W); otherwise it is (H, W, C).

    Returns:
        (H, W) for one channel, else (H, W, C).

    Raises:
        InputError: The shape is none of these, or the image is empty.
    """
    shape = tuple(array.shape)
    if array.ndim == 3 and shape[0] in _CHANNELS and (first or shape[2] not in _CHANNELS):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in _CHANNELS):
        raise InputError(f"an image has shape (H, W), (H, W, 1|3|4) or (1|3|4, H, W), not {shape}")
    if array.size == 0:
        raise InputError(f"the image is empty: shape {shape}")
    return array


def to_uint8(array: npt.NDArray[Any], name: str) -> tuple[npt.NDArray[np.uint8], tuple[Note, ...]]:
    """Scale values to 8 bits.

    Integers above 255 that fit into 10, 12 or 14 bits are scaled by that range, and a note says so.

    Args:
        array: bool, integers or floats, as ``open_image`` takes them.
        name: Name of the image, for messages.

    Returns:
        The values, and notes on how they were scaled.

    Raises:
        TypeError: They are of another type.
        InputError: They are out of range or not finite.
    """
    if array.dtype.kind not in "buif":
        raise TypeError(f"an image holds bool, integer or float values, not {array.dtype}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array, np.uint8), ()
    low, high = float(array.min()), float(array.max())
    if not math.isfinite(low + high):
        raise InputError(f"{name} holds NaN or infinite values")
    notes: tuple[Note, ...] = ()
    if array.dtype.kind in "bf":
        top = 1.0 if high <= 1.1 else 255.0
    else:
        top, notes = _range_of_integers(high, wide=array.dtype.str[1:] == "u2")
    slack = 0.1 * max(high, 1.0) if array.dtype.kind == "f" else 0.0  # a resize may overshoot
    if low < -slack or high > 1.1 * top:
        raise InputError(
            f"{name} has values from {low:.4g} to {high:.4g}: give floats in [0, 1] or [0, 255], or integers from 0 up "
            "(undo a model's normalization first)"
        )
    scaled = array.astype(np.float32) * np.float32(255.0 / top)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8), notes


def _range_of_integers(high: float, *, wide: bool) -> tuple[float, tuple[Note, ...]]:
    """Find the value of white from the highest value; ``wide``: the values are stored in 16 bits."""
    if high <= 255 and not wide:
        return 255.0, ()
    if high <= 255:
        dark = "the image is nearly black: its 16-bit values are all below 256; pass 8-bit values as uint8"
        return 65535.0, (Note("image-values", dark),)
    bits = next((bits for bits in _BITS if high < 2**bits), 16)
    if bits == 16:
        return max(high, 65535.0), ()
    scaled = f"the image's 16-bit values need only {bits} bits and were scaled by their range, 0 to {2**bits - 1}"
    return 2.0**bits - 1, (Note("image-values", scaled),)


def as_array(values: object) -> npt.NDArray[Any]:
    """Convert a PIL image, an array or a ``torch.Tensor`` to numpy; floating-point tensors become float32.

    Raises:
        TypeError: ``values`` is none of these.
    """
    if isinstance(values, np.ndarray | Image.Image):
        return np.asarray(values)
    if not (hasattr(values, "detach") and hasattr(values, "is_floating_point")):
        raise TypeError(f"expected an array, a tensor or a PIL image, not {type(values).__name__}")
    tensor = values.detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
