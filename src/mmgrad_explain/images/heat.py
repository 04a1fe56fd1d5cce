"""Heat as numbers: any array, tensor or image of it as float32 in [0, 1], on the grid on which it is drawn."""

import numpy as np
import numpy.typing as npt

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.values import as_array


def as_heat(heat: object, size: tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
    """Read heat, and resize it bilinearly.

    Args:
        heat: (h, w) or (1, h, w) in [0, 1], or uint8 in [0, 255]; NaN counts as 0.
        size: Height and width of the result, in pixels; those of ``heat`` when None.

    Returns:
        (h, w) or ``size``, float32 in [0, 1].

    Raises:
        InputError: ``heat`` is not a map, or not in [0, 1].
    """
    array = as_array(heat)
    array = array.reshape(array.shape[-2:]) if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"heat has shape (h, w) and is not empty, not {tuple(array.shape)}")
    values = array.astype(np.float32)
    values *= np.float32(1 / 255 if array.dtype == np.uint8 else 1)
    np.nan_to_num(values, copy=False, nan=0.0)
    low, high = float(values.min()), float(values.max())
    if low < -1e-3 or high > 1.001:
        raise InputError(f"heat must be in [0, 1], not from {low:.4g} to {high:.4g}: divide it by its maximum first")
    np.clip(values, 0, 1, out=values)
    if size is None or size == values.shape:
        return values
    scale = (values.shape[0] / size[0], values.shape[1] / size[1])
    return Placement(size, values.shape, scale, (0.0, 0.0)).to_original(values)
