"""Scenes as files: what a worker process does for a triplet set of generated scenes."""

from __future__ import annotations

import itertools
import json
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mmgrad_explain._system.files import advice_on
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.records import scene_records
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.scenes.text import PLACE_SHARE, RELATION_SHARE
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

FORMATS = ("png", "jpg", "npy")

_QUALITY = 95
_TOGETHER, _BYTES = 8, 2**22  # scenes that are drawn before they are written, and their size: caches stay warm
_HEADER = 128  # bytes before the pixels of a stack
_loaded: dict[tuple[str, ...], tuple[np.ndarray, ...]] = {}


@dataclass(frozen=True)
class SceneSetOptions:
    """What a triplet set of scenes is made of; equal options give equal sets, and fewer triplets the beginning of more.

    Attributes:
        seed: Names the series of scenes.
        size: Side of the pictures in pixels, 32 to 512.
        edits: Triplets of a scene, 1 to 16.
        format: ``"png"`` or ``"jpg"``, a file a picture, with masks in PNG; or ``"npy"``, uncompressed NumPy stacks of
            the pictures and of the masks of some scenes, which are written and read much faster.
        pairs: See :class:`~mmgrad_explain.data.scenes.options.SceneOptions`.
        templates: See there.
        objects: See there.
        backdrops: Files of pictures to lay the shapes on; drawn backgrounds if there are none.
        relations: How often an object is placed by another one; see there.
        places: How often it is told by its side; see there.
    """

    seed: int = 0
    size: int = 96
    edits: int = 4
    format: str = "png"
    pairs: str = "training"
    templates: str = "training"
    objects: tuple[int, int] = (1, 6)
    backdrops: tuple[str, ...] = ()
    relations: float = RELATION_SHARE
    places: float = PLACE_SHARE

    def check(self) -> None:
        """Find out whether sets can be made of these.

        Raises:
            InputError: If a value is unknown or out of range, or a backdrop cannot be read.
        """
        if self.format not in FORMATS:
            raise InputError(f"format must be 'png', 'jpg' or 'npy', got {self.format!r}")
        scenes(self.seed, 0, size=self.size, edits=self.edits, options=self.scene_options())

    def scene_options(self) -> SceneOptions:
        """The generator's options; pictures are read once a process."""
        if self.backdrops not in _loaded:
            _loaded[self.backdrops] = tuple(np.asarray(open_image(file)) for file in self.backdrops)
        return SceneOptions(
            pairs=self.pairs,
            templates=self.templates,
            objects=self.objects,
            backdrops=_loaded[self.backdrops],
            relations=self.relations,
            places=self.places,
        )


def write_scenes(out: Path, options: SceneSetOptions, start: int, stop: int) -> tuple[bytes, float, float]:
    """Draw scenes and write their pictures and masks.

    Args:
        out: The set's folder, with its folders in it.
        options: What scenes.
        start: The first scene.
        stop: The one after the last.

    Returns:
        One line of JSON: the numbers of the scenes, and the records of their triplets. And the CPU seconds that
        drawing took, and those that all of it took.

    Raises:
        InputError: If a file cannot be written.
    """
    entered = time.thread_time()
    drawn = scenes(
        options.seed, stop - start, size=options.size, edits=options.edits, start=start, options=options.scene_options()
    )
    together = max(1, min(_TOGETHER, _BYTES // (3 * options.size**2 * (1 + options.edits))))
    records = []
    seconds = 0.0
    try:
        with _Stacks(out, f"{start:07d}") if options.format == "npy" else _Files(out, options.format) as files:
            for first in range(start, stop, together):
                began = time.thread_time()
                some = list(itertools.islice(drawn, together))
                seconds += time.thread_time() - began
                for index, scene in enumerate(some, first):
                    records += scene_records(scene, index, files.put)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}: {advice_on(error)}, then go on with --resume"
        ) from error
    line = json.dumps({"scenes": (start, stop), "records": records}).encode() + b"\n"
    return line, seconds, time.thread_time() - entered


class _Files:
    """Every picture in a file of its own; masks are PNG."""

    def __init__(self, out: Path, kind: str) -> None:
        self.out = out
        self.kinds = {"references": kind, "targets": kind, "masks": "png"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def put(self, folder: str, name: str, pixels: np.ndarray) -> str:
        """Write a picture or mask, and give its name in records."""
        kind = self.kinds[folder]
        path = f"{folder}/{name}.{kind}"
        with open(f"{self.out}{os.sep}{path}", "wb", buffering=0) as stream:  # noqa: PTH123 - twice as fast
            stream.write(_encode(pixels, kind))
        return path


class _Stacks:
    """One NumPy file a folder for some scenes; they are there under their names when all of them are whole."""

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
        """Append a picture or mask to its folder's stack, and give its name in records."""
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
    """What a NumPy file of version 1.0 begins with, padded so that the pixels begin at the same place in all files."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    import cv2

    pixels = pixels * np.uint8(255) if pixels.dtype == bool else np.ascontiguousarray(pixels[..., ::-1])
    settings = [
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]  # half the time, and smaller: noise has no words
    if kind == "jpg":
        full = int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)  # colour at full resolution, or it leaks over a mask's edge
        settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    return bytes(cv2.imencode(f".{kind}", pixels, settings)[1])
