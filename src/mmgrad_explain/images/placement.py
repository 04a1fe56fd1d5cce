"""Placement of an image in a model's input: resize, crop or letterbox it, and map values both ways."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.values import as_array

_Floats: TypeAlias = npt.NDArray[np.float32]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Placement:
    """Position and scale of an image in a model's input.

    For each axis (y, x), in continuous coordinates where pixel ``i`` covers ``[i, i + 1)``:
    ``input = original * scale + offset``.

    Attributes:
        original: Height and width of the image, in pixels.
        input: Height and width of the model's input, in pixels.
        scale: Input pixels for each original pixel, (y, x), greater than 0.
        offset: Position of the image's upper left corner in the input, (y, x), in input pixels.
        window: The part of the image that remains, ((top, bottom), (left, right)) in its pixels, where parts were
            cropped and then padded over; None where all of the image within the input remains.
    """

    original: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    window: tuple[tuple[float, float], tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        for name in ("original", "input", "scale", "offset"):
            pair = getattr(self, name)
            if len(pair) != 2 or not all(math.isfinite(v) and (v > 0 or name == "offset") for v in pair):
                raise InputError(f"a placement's {name} is a pair of finite numbers (positive but for offset): {pair}")

    def to_original(self, values: npt.NDArray[Any]) -> _Floats:
        """Resize a map of the model's input to the pixels of the image.

        Args:
            values: (gh, gw), a map on any grid with cells that evenly cover the input.

        Returns:
            (H, W) float32: ``values`` interpolated bilinearly at the centres of the image's pixels, the outermost cells
            replicated up to the border of the input; 0 where the model did not see the image.

        Raises:
            InputError: ``values`` is not a map.
        """
        values = _map(values)
        row, row_part, row_seen = self._taps(0, values.shape[0])
        column, column_part, column_seen = self._taps(1, values.shape[1])
        wide = np.take(values, column, axis=1)
        wide += column_part * (np.take(values, column + 1, axis=1, mode="clip") - wide)
        wide[:, ~column_seen] = 0
        step = np.diff(wide, axis=0, append=wide[-1:])
        result = np.empty(self.original, np.float32)
        for start in range(0, len(row), 32):  # blocks of rows that stay in the processor's cache
            part = slice(start, start + 32)
            np.take(wide, row[part], axis=0, out=result[part], mode="clip")
            result[part] += np.take(step, row[part], axis=0) * row_part[part, None]
        result[~row_seen] = 0
        return result

    def _taps(self, axis: int, cells: int) -> tuple[npt.NDArray[np.intp], _Floats, npt.NDArray[Any]]:
        """Find each original pixel's cell before its centre, the fraction to the next one, and whether it is seen."""
        position = (np.arange(self.original[axis]) + 0.5) * self.scale[axis] + self.offset[axis]
        cell = np.clip(position * cells / self.input[axis] - 0.5, 0, cells - 1)
        before = cell.astype(np.intp)
        seen = (position >= 0) & (position <= self.input[axis])
        if self.window is not None:
            centre = np.arange(self.original[axis]) + 0.5
            seen &= (centre >= self.window[axis][0]) & (centre <= self.window[axis][1])
        return before, (cell - before).astype(np.float32), seen

    def seen(self) -> npt.NDArray[np.bool_]:
        """Return which pixels the model saw: (H, W) bool, true where the centre of a pixel is in the input."""
        return np.asarray(self._taps(0, 1)[2][:, None] & self._taps(1, 1)[2])

    def to_input(self, values_on_original: npt.NDArray[Any], size: tuple[int, int] | None = None) -> _Floats:
        """Resize a map or mask of the image to the model's input: the inverse of :meth:`to_original`.

        Args:
            values_on_original: (H, W), bool or numbers.
            size: The grid (gh, gw) to average on, evenly covering the input; the input's own pixels when None.

        Returns:
            (gh, gw) float32: the average of each cell over its area; padding counts as 0.

        Raises:
            InputError: ``values_on_original`` does not have the shape of the image, or ``size`` is not positive.
        """
        values = _map(values_on_original)
        if values.shape != self.original or min(size or self.input) < 1:
            raise InputError(f"expected shape {self.original} and a positive size, not {values.shape} and {size}")
        rows, columns = (self._shares(axis, cells) for axis, cells in enumerate(size or self.input))
        return np.asarray(rows @ values @ columns.T, np.float32)

    def _shares(self, axis: int, cells: int) -> _Floats:
        """Compute (cells, pixels): the share of each cell that each original pixel covers."""
        edges = (np.arange(cells + 1) * (self.input[axis] / cells) - self.offset[axis]) / self.scale[axis]
        pixels = np.arange(self.original[axis])
        low, high = (0, self.original[axis]) if self.window is None else self.window[axis]
        overlap = np.minimum(edges[1:, None], np.minimum(pixels + 1, high))
        overlap = overlap - np.maximum(edges[:-1, None], np.maximum(pixels, low))
        return np.asarray(np.maximum(overlap, 0) / np.diff(edges)[:, None], np.float32)

    def of_copy(self, size: tuple[int, int]) -> "Placement":
        """Return the placement of a copy of the image with ``size`` (H, W) pixels."""
        ratio = size[0] / self.original[0], size[1] / self.original[1]
        window = self.window
        if window is not None:
            (top, bottom), (left, right) = window
            window = (top * ratio[0], bottom * ratio[0]), (left * ratio[1], right * ratio[1])
        return Placement(size, self.input, (self.scale[0] / ratio[0], self.scale[1] / ratio[1]), self.offset, window)

    def to_dict(self) -> dict[str, Any]:
        """Return the pairs by name, ready for JSON; without the window where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Placement":
        """Read the result of :meth:`to_dict`, also from JSON.

        Raises:
            InputError: A pair is missing or wrong.
        """
        try:
            pairs = {name: tuple(fields[name]) for name in ("original", "input", "scale", "offset")}
            window = fields.get("window")
            return cls(**pairs, window=None if window is None else (tuple(window[0]), tuple(window[1])))
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"a placement needs the pairs original, input, scale and offset: {error!r}") from error


FitImage: TypeAlias = Callable[[Image.Image], tuple[Any, Placement]]
"""Brings an RGB image to the size of a model: its pixels, ``(H, W, 3)`` uint8 or an image, and its placement."""


def _map(values: object) -> _Floats:
    array = as_array(values)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"a map has shape (height, width) and is not empty, not {tuple(array.shape)}")
    return np.asarray(array, np.float32)


def fit(
    image: Image.Image,
    size: int | tuple[int, int],
    mode: Literal["stretch", "crop", "letterbox"] = "letterbox",
    fill: tuple[int, int, int] = (127, 127, 127),
    resample: Literal["bicubic", "bilinear"] = "bicubic",
) -> tuple[Image.Image, Placement]:
    """Fit an image to a model's input size with an antialiased resize, and return its placement.

    Args:
        image: An image; any but an RGB image is read by :func:`~mmgrad_explain.images.reading.open_image`.
        size: Side of the input, or its (height, width), in pixels.
        mode: ``"stretch"`` ignores the aspect ratio, ``"crop"`` fills the input and crops both sides evenly,
            ``"letterbox"`` shows the whole image on a background of colour ``fill``.
        fill: Background of the letterbox, RGB in [0, 255].
        resample: The resize filter.

    Returns:
        The input as an RGB image, and its exact :class:`Placement` on ``image``.

    Raises:
        InputError: ``size``, ``mode`` or ``resample`` is none of these.
    """
    image = image if isinstance(image, Image.Image) and image.mode == "RGB" else open_image(image)
    if mode not in ("stretch", "crop", "letterbox"):
        raise InputError(f"mode must be 'stretch', 'crop' or 'letterbox', not {mode!r}")
    if resample not in _FILTERS:
        raise InputError(f"resample must be 'bicubic' or 'bilinear', not {resample!r}")
    (width, height), (h, w) = image.size, (size, size) if isinstance(size, int) else size
    if min(h, w) < 1:
        raise InputError(f"size must be positive, not {size}")
    ratio = (max if mode == "crop" else min)(h / height, w / width)
    rows, columns = (h, w) if mode == "stretch" else (max(1, round(height * ratio)), max(1, round(width * ratio)))
    top, left = (h - rows) // 2, (w - columns) // 2
    y, x = rows / height, columns / width
    placement = Placement((height, width), (h, w), (y, x), (float(top), float(left)))
    if mode == "letterbox":
        ground = Image.new("RGB", (w, h), fill)
        ground.paste(image.resize((columns, rows), _FILTERS[resample]), (left, top))
        return ground, placement
    # Resizing only the part that remains equals resizing all and cropping, with less memory.
    part = (-left / x, -top / y, min((w - left) / x, width), min((h - top) / y, height))
    return image.resize((w, h), _FILTERS[resample], part), placement
