"""Draws scenes and writes their images and masks: what a worker process does for a set of generated scenes."""

from __future__ import annotations

import itertools
import json
import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

import numpy as np

from mmgrad_explain._system.files import advice_on
from mmgrad_explain.data.scenes.records import make_records
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.set_builder import MadeTriplets
from mmgrad_explain.data.set_folder import write_all
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from mmgrad_explain.data.scenes.set_options import SceneSetOptions

_QUALITY = 95
_MOST_DRAWN, _MOST_BYTES = 8, 2**22  # scenes that are drawn before they are written: caches stay warm
_HEADER = 128  # bytes before the pixels of a stack


def write_scenes(out: Path, options: SceneSetOptions, start: int, stop: int) -> MadeTriplets:
    """Draw scenes and write their images and masks.

    Args:
        out: The set's folder, with its folders of images in it.
        options: Which scenes.
        start: The first scene.
        stop: The one after the last.

    Returns:
        Line for the journal, with ``scenes`` (the first scene, and the one after the last) and ``records``.

    Raises:
        InputError: A file cannot be written.
    """
    drawn = scenes(
        options.seed, stop - start, size=options.size, edits=options.edits, start=start, options=options.scene_options()
    )
    together = max(1, min(_MOST_DRAWN, _MOST_BYTES // (3 * options.size**2 * (1 + options.edits))))
    records = []
    seconds = 0.0
    try:
        with _Stacks(out, f"{start:07d}") if options.format == "npy" else _Files(out, options.format) as files:
            for first in range(start, stop, together):
                began = time.thread_time()
                some = list(itertools.islice(drawn, together))
                seconds += time.thread_time() - began
                for index, scene in enumerate(some, first):
                    records += make_records(scene, index, files.put)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then go on with --resume"
        ) from error
    line = json.dumps({"scenes": (start, stop), "records": records}).encode() + b"\n"
    return MadeTriplets(line, len(records), {}, seconds)


class _Files:
    """Writes each image to its own file; masks are PNG."""

    def __init__(self, out: Path, kind: str) -> None:
        self.out = out
        self.kinds = {"references": kind, "targets": kind, "masks": "png"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def put(self, folder: str, name: str, pixels: np.ndarray) -> str:
        """Write an image or mask, and return its path for the record."""
        kind = self.kinds[folder]
        path = f"{folder}/{name}.{kind}"
        with open(f"{self.out}{os.sep}{path}", "wb", buffering=0) as stream:  # noqa: PTH123 - twice as fast
            write_all(stream, _encode(pixels, kind))
        return path


class _Stacks:
    """Writes the images of some scenes to one NumPy file a folder; the files get their names when all are complete."""

    def __init__(self, out: Path, name: str) -> None:
        self.out = out
        self.name = name
        self.counts: dict[str, int] = {}
        self._shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._streams: dict[str, BinaryIO] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def put(self, folder: str, _name: str, pixels: np.ndarray) -> str:
        """Append an image or mask to its folder's stack, and return its path for the record."""
        if folder not in self._streams:
            self._streams[folder] = self._open.enter_context(self._temporary(folder).open("wb", buffering=2**18))
            self._streams[folder].write(bytes(_HEADER))
            self._shapes[folder] = pixels.dtype.str, pixels.shape
        self._streams[folder].write(np.ascontiguousarray(pixels).data)
        index = self.counts.get(folder, 0)
        self.counts[folder] = index + 1
        return f"{folder}/{self.name}.npy#{index}"

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            with self._open:
                if kind is None:
                    for folder, stream in self._streams.items():
                        stream.seek(0)
                        dtype, shape = self._shapes[folder]
                        stream.write(_header(dtype, (self.counts[folder], *shape)))
            if kind is None:
                for folder in self._streams:
                    self._temporary(folder).replace(self.out / folder / f"{self.name}.npy")
        finally:
            for folder in self._streams:
                with suppress(OSError):
                    self._temporary(folder).unlink(missing_ok=True)

    def _temporary(self, folder: str) -> Path:
        return self.out / folder / f".{self.name}.tmp"


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Make the header of a NumPy file of version 1.0, padded so that the pixels of all files begin at the same byte."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    import cv2

    pixels = pixels * np.uint8(255) if pixels.dtype == bool else np.ascontiguousarray(pixels[..., ::-1])
    settings = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # twice as fast, and smaller files: noise
    if kind == "jpg":
        full = int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)  # colour at full resolution, or it leaks over a mask's edge
        settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    return bytes(cv2.imencode(f".{kind}", pixels, settings)[1])
