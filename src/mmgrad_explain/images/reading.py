"""Read images from files, bytes, arrays, tensors and PIL images, as upright RGB with 8 bits."""

import difflib
import io
import itertools
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from mmgrad_explain._system.user_files import open_file, read_stream, reading, reason_of
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading_notes import info_with_notes, notes_of_image, notes_of_stack
from mmgrad_explain.images.values import as_array, move_channels_last, to_uint8
from mmgrad_explain.notes import Note

MAX_PIXELS = 178_956_970
"""The largest image that is read, in pixels: the number from which Pillow itself refuses."""

_SCRIPTS = ("EPS", "WMF")  # Pillow runs other programs for these
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_TURNS = dict(enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), start=2))  # undo an EXIF orientation
_WARNINGS_LOCK = threading.Lock()


def open_image(source: object, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image, upright and in RGB.

    EXIF orientation is applied. Colour profiles are converted to sRGB where Pillow has LittleCMS. 16-bit images are
    scaled to 8 bits. Transparency becomes white. Of an animation or a stack the first image is read.
    :func:`~mmgrad_explain.images.reading_notes.notes_of_image` returns notes on this.

    Args:
        source: A path, the bytes of an image file, an open binary file (read from its start), a PIL image, or an array
            or ``torch.Tensor`` of shape (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4; an ambiguous shape is
            (H, W, C) for an array and (C, H, W) for a tensor. Values: bool, uint8, uint16 (over its full range, or
            that of 10, 12 or 14 bits where they fit), other integers in [0, 255] or [0, 65535], or floats in [0, 1]
            or, if any is above 1, [0, 255].
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        A new image of mode ``"RGB"`` and size (W, H), without metadata.

    Raises:
        TypeError: ``source`` is none of these.
        InputError: There is no such file, or it is empty, damaged, too large, or not an image.
    """
    name = "the image"
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
        pixels = move_channels_last(as_array(source), first=not isinstance(source, np.ndarray))
        values, notes = to_uint8(pixels, name)
        return _upright_rgb(Image.fromarray(values), name, max_pixels, notes)
    raise TypeError(f"an image is a path, bytes, binary file, PIL image, array or tensor, not {type(source).__name__}")


def open_pixels(image: object) -> npt.NDArray[np.uint8]:
    """Read an image as an array.

    Args:
        image: As for :func:`open_image`; an array of the right kind is not copied.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        TypeError, InputError: As :func:`open_image`.
    """
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    return np.asarray(open_image(image))


def _open_path(path: Path, max_pixels: int) -> Image.Image:
    with reading(f"{str(path)!r} cannot be opened"):
        try:
            stream = open_file(path, most_bytes(max_pixels))
        except FileNotFoundError:
            raise InputError(f"no such file: {path}{_near(path) or ': check its name'}") from None
        except IsADirectoryError:
            raise InputError(f"{path} is a folder: name an image in it") from None
    with stream:
        return _decode(stream, str(path), max_pixels)


def most_bytes(max_pixels: int) -> int:
    """Return the most bytes of a file with this many pixels: three bytes each, and metadata."""
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
        raise TypeError("an image file must be opened in binary mode ('rb')")
    if not head:
        raise InputError(f"{name} is empty (0 bytes)")
    try:
        # max_pixels decides, not Pillow's warning or the user's warning filters.
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to decode: {reason_of(error)} (PIL.Image.MAX_IMAGE_PIXELS)") from error
    except Exception as error:  # Pillow's plugins raise many kinds of errors on damaged data
        if isinstance(error, UnidentifiedImageError) and not head.startswith(_SIGNATURES):
            raise InputError(f"{name} is not an image of a known format (convert HEIC to JPEG first)") from None
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
    notes += notes_of_image(image) + notes_of_stack(image)
    with reading(f"{name} is truncated or damaged"):
        image.load()
        return _as_rgb(image, name, notes)


def _as_rgb(image: Image.Image, name: str, notes: tuple[Note, ...]) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001  (damaged EXIF leaves the image usable)
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
    rgb.info = info_with_notes(notes)
    return rgb


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    try:
        source, srgb = io.BytesIO(profile or b""), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") if profile else None
    except Exception:  # noqa: BLE001  (no LittleCMS, or a profile that is damaged or does not fit)
        converted = None
    return converted or image.convert("RGB")
