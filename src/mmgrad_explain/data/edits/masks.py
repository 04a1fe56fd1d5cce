"""Operations on masks: soft edges, dilation, bounding windows, samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    _Floats: TypeAlias = npt.NDArray[np.float32]


_MOST_SAMPLES = 2000  # pixels for a statistic


def make_opacity(mask: object, shape: tuple[int, ...], name: str) -> _Floats:
    """Check a mask and return its opacities.

    Args:
        mask: Bool, which gets a soft edge inside the mask, or floats in [0, 1], which are used as they are.
        shape: The shape that it must have.
        name: Of the argument, for messages.

    Raises:
        TypeError: It is no bool or float array.
        InputError: It has another shape, or is empty.
    """
    import cv2

    if not isinstance(mask, np.ndarray) or (mask.dtype != np.bool_ and mask.dtype.kind != "f"):
        raise TypeError(f"{name} must be a bool or float array")
    if mask.shape != shape:
        raise InputError(f"{name} must have the image's shape {shape}, not {mask.shape}")
    if mask.dtype == np.bool_:
        hard = mask.astype(np.float32)
        alpha = cv2.GaussianBlur(hard, (3, 3), 0.6, borderType=cv2.BORDER_REPLICATE) * hard
    else:
        alpha = np.clip(np.nan_to_num(mask), 0, 1).astype(np.float32)
    if not (alpha >= 0.5).any():
        raise InputError(f"{name} is empty: no pixel belongs to the object")
    return np.asarray(alpha, np.float32)


def dilate_mask(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Dilate a mask by a disc.

    Args:
        mask: (H, W) bool.
        pixels: The disc's radius; 0 changes nothing.
    """
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), bool)


def find_removal_margin(mask: npt.NDArray[np.bool_]) -> int:
    """Find how far ``remove`` and ``add`` reach beyond the mask, in pixels: 2 to 8, more for large objects."""
    return int(np.clip(round(math.sqrt(np.count_nonzero(mask)) / 14), 2, 8))


def find_window(alpha: _Floats | npt.NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice]:
    """Find the rows and columns of a mask's bounding box, with a margin."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def sample_inside(values: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the values inside a mask; evenly spaced samples of a large mask."""
    where = np.flatnonzero(inside)
    where = where[:: max(1, len(where) // _MOST_SAMPLES)]
    return np.ascontiguousarray(values.reshape(-1, *values.shape[2:])[where])
