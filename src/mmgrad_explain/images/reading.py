"""Pictures in and out: read them as people take them, bring them to a model's input size, and find the way back.

:func:`open_image` gives an upright RGB image of whatever holds a picture, :func:`fit` brings it to a model's input
size, and the :class:`Placement` it returns carries a map of that input back to the picture's own pixels.
"""

import difflib
import io
import itertools
import math
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.reading import open_file, read_stream, reading, reason_of
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading_notes import keep_notes, notes_of_picture, notes_of_stack
from mmgrad_explain.images.values import channels_last, to_uint8
from mmgrad_explain.notes import Note

MAX_PIXELS = 178_956_970  # what Pillow itself refuses

_Floats: TypeAlias = npt.NDArray[np.float32]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
_SCRIPTS = ("EPS", "WMF")  # Pillow hands these to programs outside
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_TURNS = dict(enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), start=2))  # what undoes an EXIF orientation
_WARNINGS_LOCK = threading.Lock()


def open_image(source: object, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture from wherever it is, upright and in RGB.

    EXIF orientation is applied, colour profiles are brought to sRGB where Pillow has LittleCMS, 16-bit pictures are
    scaled to 8 bits, transparency is laid on white, and of an animation or a stack the first picture is taken.
    :func:`~mmgrad_explain.images.reading_notes.notes_of_picture` says so.

    Args:
        source: A path, the bytes of a picture file, an open binary file (read from its start), a PIL image, or an
            array or ``torch.Tensor`` of shape (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4; where both orders
            would do, (H, W, C) for an array and (C, H, W) for a tensor. Values: bool, uint8, uint16 (over its full
            range, or that of 10, 12 or 14 bits where they need no more), other integers in [0, 255] or [0, 65535], or
            floats in [0, 1] or, if any is above 1, [0, 255].
        max_pixels: Pictures with more pixels than this are refused before they are decoded.

    Returns:
        A new image of mode ``"RGB"`` and size (W, H), without metadata.

    Raises:
        TypeError: ``source`` is none of these.
        InputError: There is no such file, or what is there is empty, damaged, too large, or not a picture.
    """
    name = "the picture"
    if isinstance(source, Image.Image):
        return _upright_rgb(source, name, max_pixels)
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    if hasattr(source, "read"):
        label = getattr(source, "name", None)
        return _decode(source, label if isinstance(label, str) else name, max_pixels)
    if isinstance(source, np.ndarray) or hasattr(source, "detach"):
        pixels = channels_last(as_array(source), first=not isinstance(source, np.ndarray))
        values, notes = to_uint8(pixels, name)
        return _upright_rgb(Image.fromarray(values), name, max_pixels, notes)
    raise TypeError(f"a picture is a path, bytes, binary file, PIL image, array or tensor, not {type(source).__name__}")


def as_array(values: object) -> npt.NDArray[Any]:
    """Bring a PIL image, array or ``torch.Tensor`` (bfloat16 and half become float32) to numpy; else TypeError."""
    if isinstance(values, np.ndarray | Image.Image):
        return np.asarray(values)
    if not (hasattr(values, "detach") and hasattr(values, "is_floating_point")):
        raise TypeError(f"expected an array, a tensor or a PIL image, not {type(values).__name__}")
    tensor = values.detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)


def _open_path(path: Path, max_pixels: int) -> Image.Image:
    try:
        stream = open_file(path, most_bytes(max_pixels))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}{_near(path) or ': check its name'}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name one picture in it") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be opened: {reason_of(error)}") from error
    with stream:
        return _decode(stream, str(path), max_pixels)


def most_bytes(max_pixels: int) -> int:
    """What a file of so many pixels has at most, where each takes its three bytes and something is said about them."""
    return 3 * max_pixels + 2**20


def _near(path: Path) -> str:
    try:
        names = {entry.name.lower(): entry.name for entry in itertools.islice(path.parent.iterdir(), 5_000)}
    except OSError as error:
        return f" (its folder: {reason_of(error)})"
    near = [repr(names[name]) for name in difflib.get_close_matches(path.name.lower(), names)]
    return f". Did you mean {' or '.join(near)}?" if near else ""


def _decode(stream: Any, name: str, max_pixels: int) -> Image.Image:
    with reading(f"{name} cannot be read"):
        if not (hasattr(stream, "seekable") and stream.seekable()):
            stream = io.BytesIO(read_stream(stream, name, most_bytes(max_pixels)))
        stream.seek(0)
        head = stream.read(16)
    if not isinstance(head, bytes):
        raise TypeError("a picture's file must be opened in binary mode ('rb')")
    if not head:
        raise InputError(f"{name} is empty (0 bytes)")
    try:
        # max_pixels decides, not Pillow's warning nor the filters someone set for it.
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to decode: {reason_of(error)} (PIL.Image.MAX_IMAGE_PIXELS)") from error
    except Exception as error:  # Pillow's plugins raise all sorts of things on damaged data
        if isinstance(error, UnidentifiedImageError) and not head.startswith(_SIGNATURES):
            raise InputError(f"{name} is not a picture of a known format (convert HEIC to JPEG first)") from None
        raise InputError(f"{name} is truncated or damaged: {reason_of(error)}") from error
    with image:
        if image.format in _SCRIPTS:
            raise InputError(f"{name} is an {image.format} file, which another program must run: convert it to PNG")
        return _upright_rgb(image, name, max_pixels)


def _upright_rgb(image: Image.Image, name: str, max_pixels: int, notes: tuple[Note, ...] = ()) -> Image.Image:
    size = f"{image.width} x {image.height} pixels"
    if 0 in image.size:
        raise InputError(f"{name} is empty: {size}")
    if image.width * image.height > max_pixels:
        raise InputError(f"{name} is too large to decode: {size}. Shrink it, or raise max_pixels ({max_pixels})")
    notes += notes_of_picture(image) + notes_of_stack(image)
    with reading(f"{name} is truncated or damaged"):
        image.load()
        return _as_rgb(image, name, notes)


def _as_rgb(image: Image.Image, name: str, notes: tuple[Note, ...]) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001  (a picture with damaged EXIF is still a picture)
        turn = None
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        values, more = to_uint8(np.asarray(image), name)
        image, notes = Image.fromarray(values), notes + more
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        flat = Image.alpha_composite(white, image.convert("RGBA"))
        image = flat.convert("L" if image.mode in ("L", "LA") else "RGB")
    rgb = _to_srgb(image, profile)
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = keep_notes(notes)
    return rgb


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    try:
        source, srgb = io.BytesIO(profile or b""), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") if profile else None
    except Exception:  # noqa: BLE001  (no LittleCMS, or a profile that is damaged or of another kind of picture)
        converted = None
    return converted or image.convert("RGB")


@dataclass(frozen=True)
class Placement:
    """Where a model's input lies on the original picture.

    Axis by axis (y, x), in continuous coordinates where pixel ``i`` covers ``[i, i + 1)``:
    ``input = original * scale + offset``.

    Attributes:
        original: Height and width of the picture, in pixels.
        input: Height and width of the model's input, in pixels.
        scale: Input pixels for each original pixel, (y, x), greater than 0.
        offset: Where the original's upper left corner lies in the input, (y, x), in input pixels.
        window: What was left of the original, ((top, bottom), (left, right)) in its pixels, where parts of it were cut
            off and padded over; None where all is left that lies in the input.
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
        """Carry a map of the model's input to the original picture's pixels.

        Args:
            values: (gh, gw), a map on any grid whose cells evenly cover the input.

        Returns:
            (H, W) float32: ``values`` interpolated bilinearly at the original's pixel centres, the outermost cells
            replicated up to the input's border; 0 where the model did not see the picture.

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
        for start in range(0, len(row), 32):  # blocks that stay in the processor's cache
            part = slice(start, start + 32)
            np.take(wide, row[part], axis=0, out=result[part], mode="clip")
            result[part] += np.take(step, row[part], axis=0) * row_part[part, None]
        result[~row_seen] = 0
        return result

    def _taps(self, axis: int, cells: int) -> tuple[npt.NDArray[np.intp], _Floats, npt.NDArray[Any]]:
        """For each original pixel: the cell before its centre, the part of the way to the next one, whether seen."""
        position = (np.arange(self.original[axis]) + 0.5) * self.scale[axis] + self.offset[axis]
        cell = np.clip(position * cells / self.input[axis] - 0.5, 0, cells - 1)
        before = cell.astype(np.intp)
        seen = (position >= 0) & (position <= self.input[axis])
        if self.window is not None:
            centre = np.arange(self.original[axis]) + 0.5
            seen &= (centre >= self.window[axis][0]) & (centre <= self.window[axis][1])
        return before, (cell - before).astype(np.float32), seen

    def seen(self) -> npt.NDArray[np.bool_]:
        """Say which pixels the model saw: (H, W) bool, true where an original pixel's centre lies in the input."""
        return np.asarray(self._taps(0, 1)[2][:, None] & self._taps(1, 1)[2])

    def to_input(self, values_on_original: npt.NDArray[Any], size: tuple[int, int] | None = None) -> _Floats:
        """Carry a map or mask of the original picture to the model's input: the inverse of :meth:`to_original`.

        Args:
            values_on_original: (H, W), bool or numbers.
            size: The grid (gh, gw) to average on, evenly covering the input; the input's own pixels when None.

        Returns:
            (gh, gw) float32: each cell's average over the area it covers, where padding counts as 0.

        Raises:
            InputError: ``values_on_original`` has not the original's shape, or ``size`` is not positive.
        """
        values = _map(values_on_original)
        if values.shape != self.original or min(size or self.input) < 1:
            raise InputError(f"expected shape {self.original} and a positive size, not {values.shape} and {size}")
        rows, columns = (self._shares(axis, cells) for axis, cells in enumerate(size or self.input))
        return np.asarray(rows @ values @ columns.T, np.float32)

    def _shares(self, axis: int, cells: int) -> _Floats:
        """(cells, pixels): the share of each cell that each original pixel covers."""
        edges = (np.arange(cells + 1) * (self.input[axis] / cells) - self.offset[axis]) / self.scale[axis]
        pixels = np.arange(self.original[axis])
        low, high = (0, self.original[axis]) if self.window is None else self.window[axis]
        overlap = np.minimum(edges[1:, None], np.minimum(pixels + 1, high))
        overlap = overlap - np.maximum(edges[:-1, None], np.maximum(pixels, low))
        return np.asarray(np.maximum(overlap, 0) / np.diff(edges)[:, None], np.float32)

    def of_copy(self, size: tuple[int, int]) -> "Placement":
        """Give the placement of a copy of the picture that is ``size`` (H, W) pixels large."""
        ratio = size[0] / self.original[0], size[1] / self.original[1]
        window = self.window
        if window is not None:
            (top, bottom), (left, right) = window
            window = (top * ratio[0], bottom * ratio[0]), (left * ratio[1], right * ratio[1])
        return Placement(size, self.input, (self.scale[0] / ratio[0], self.scale[1] / ratio[1]), self.offset, window)

    def to_dict(self) -> dict[str, Any]:
        """Give the pairs by name, ready for JSON; without the window where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Placement":
        """Read what :meth:`to_dict` gave, be it by way of JSON; InputError where a pair is missing or wrong."""
        try:
            pairs = {name: tuple(fields[name]) for name in ("original", "input", "scale", "offset")}
            window = fields.get("window")
            return cls(**pairs, window=None if window is None else (tuple(window[0]), tuple(window[1])))
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"a placement needs the pairs original, input, scale and offset: {error!r}") from error


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
    """Bring a picture to a model's input size with an antialiased resize, and say where it came to lie.

    Args:
        image: The picture; what is not an RGB image is read by :func:`open_image`.
        size: The input's side, or its (height, width), in pixels.
        mode: ``"stretch"`` ignores the aspect ratio, ``"crop"`` fills the input and cuts what stands out on both
            sides evenly, ``"letterbox"`` shows the whole picture on a ground of colour ``fill`` (RGB in [0, 255]).
        fill: The letterbox's ground.
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
    # To resize only the part that stays is to resize everything and crop, without the memory for everything.
    part = (-left / x, -top / y, min((w - left) / x, width), min((h - top) / y, height))
    return image.resize((w, h), _FILTERS[resample], part), placement


def safe_save(
    image: object,
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
    *,
    overwrite: bool = False,
    quality: int = 92,
) -> None:
    """Write a picture so that its file is either whole or not there; missing folders are made.

    Args:
        image: The picture, as :func:`open_image` takes it.
        path: The file to write.
        format: ``"png"``, ``"jpg"`` or ``"webp"``; by the path's suffix when None.
        overwrite: Replace a file that is there.
        quality: Of jpg and webp, 1 to 100.

    Raises:
        OutputExistsError: ``path`` is there and ``overwrite`` is false.
        InputError: The format is unknown or the folder cannot be written.
    """
    path = Path(path)
    kind = _FORMATS.get((format or path.suffix).lower().removeprefix("."))
    if kind is None:
        raise InputError(f"cannot tell the picture format of {path}: use one of png, jpg, webp")
    picture = open_image(image)
    with atomic_file(path, overwrite=overwrite) as stream:
        # subsampling 0: thin outlines and small letters keep their colour
        picture.save(stream, kind, quality=quality, subsampling=0, compress_level=3)
