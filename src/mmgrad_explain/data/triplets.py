"""Reads and writes triplet sets: a folder with ``triplets.jsonl``, one record a line, and the images it names.

A record has the keys ``id``, ``reference``, ``text``, ``target``, ``mask`` (paths below the folder), ``class``,
``edit`` and more; unknown keys are kept. Images are read on demand.

A path names an image file, or with ``stack.npy#3`` the fourth image of an uncompressed NumPy file. Such a stack holds
images of one size, (N, H, W, 3) uint8, or masks, (N, H, W) bool. :func:`read_pixels` reads both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.user_files import MOST_ANNOTATIONS, parse_json, read_text, reason_of, split_lines
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.data.set_files import IMAGE_KEYS, TRIPLETS_FILE
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

_RENAMED = {"class_name": "class", "is_thing": "isthing", "licence": "license", "licence_url": "license_url"}
_NEEDED = ("id", "reference", "text", "target", "mask", "class", "edit")


@dataclass(frozen=True)
class Triplet:
    """A reference image, a modifier text, the target image, and the mask of the edit.

    Attributes:
        id: Unique in its set.
        reference: Path of the reference image, below ``folder``, as :func:`read_pixels` takes it.
        text: The modifier text: what should change.
        target: Path of the target image.
        mask: Path of the mask (PNG, 0 or 255, or of a stack): the edited region, in the reference's pixels.
            Images and mask have one size.
        class_name: Class of the edited object (``class`` in the file).
        edit: One of :data:`mmgrad_explain.data.edits.options.EDIT_KINDS`.
        detail: Colour, pattern or the like; empty where there is none.
        phrase: The words for the object in the text.
        qualifier: What makes the phrase unambiguous: ``only``, ``all``, a side, or a size.
        n_instances: Number of objects of the class in the photograph.
        is_thing: Whether they can be counted (``isthing`` in the file).
        area_frac: The mask's share of the image, 0 to 1.
        bbox: Of the mask: left, top, width, height, in pixels.
        width: Of the images, in pixels.
        height: Of the images, in pixels.
        dilate_px: How far beyond the mask the images may differ, in pixels.
        mask_object_in: The image that shows the object: ``both``, ``reference`` (of remove) or ``target`` (of add).
        source: The data set.
        source_image: The photograph's file name there.
        fold: Part of the set; all triplets of a photograph are in one.
        licence: Name of the photograph's licence (``license`` in the file).
        licence_url: Address of its text (``license_url``).
        attribution: Author or origin of the photograph.
        de_in: Mean colour difference inside the mask, CIE76.
        changed_in: Share of the mask's pixels that differ by more than 5.
        de_out: Mean colour difference outside the mask dilated by ``dilate_px``.
        mean_shift: Difference of the mean colours inside the mask, CIE76.
        contrast_ids: Triplets of the same photograph with another text and a disjoint mask.
        other: All other keys of the record.
        folder: The folder of the paths; not part of the record.
    """

    id: str
    reference: str
    text: str
    target: str
    mask: str
    class_name: str
    edit: str
    detail: str = ""
    phrase: str = ""
    qualifier: str = "only"
    n_instances: int = 1
    is_thing: bool = True
    area_frac: float = 0.0
    bbox: tuple[int, int, int, int] = (0, 0, 0, 0)
    width: int = 0
    height: int = 0
    dilate_px: int = 0
    mask_object_in: str = "both"
    source: str = ""
    source_image: str = ""
    fold: int = 0
    licence: str = ""
    licence_url: str = ""
    attribution: str = ""
    de_in: float = 0.0
    changed_in: float = 0.0
    de_out: float = 0.0
    mean_shift: float = 0.0
    contrast_ids: tuple[str, ...] = ()
    other: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = field(default=Path(), compare=False, repr=False)

    def read_images(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Read the images and the mask.

        Returns:
            Reference and target, (H, W, 3) uint8 RGB, and the mask, (H, W) bool.

        Raises:
            InputError: A file is missing or damaged, or the three are not of one size.
        """
        reference, target = (read_pixels(self.folder / path) for path in (self.reference, self.target))
        mask = read_pixels(self.folder / self.mask, mask=True)
        if not reference.shape == target.shape == (*mask.shape, 3):
            sizes = ", ".join(f"{array.shape[1]} x {array.shape[0]}" for array in (reference, target, mask))
            raise InputError(f"triplet {self.id}: reference, target and mask have different sizes ({sizes})")
        return reference, target, mask

    def to_record(self) -> dict[str, Any]:
        """Make the record as it stands in the file."""
        record = {
            _RENAMED.get(f.name, f.name): getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("other", "folder")
        }
        return {**record, "bbox": list(self.bbox), "contrast_ids": list(self.contrast_ids), **self.other}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], folder: Path = Path()) -> Triplet:
        """Make a triplet of a record.

        Args:
            record: As :meth:`to_record` makes it, or at least its first seven keys.
            folder: The folder of the paths.

        Raises:
            InputError: One of these keys is missing or no text, a value is of the wrong kind, or an image's path is
                absolute or has a ``..`` in it.
        """
        absent = [key for key in _NEEDED if not isinstance(record.get(key), str)]
        if absent:
            raise InputError(f"a triplet needs the texts {', '.join(_NEEDED)}: {absent[0]} is not there")
        for key in IMAGE_KEYS:
            if isinstance(record.get(key), str) and leaves_folder(record[key]):
                raise InputError(f"triplet {record['id']}: the {key} {record[key]!r} leads out of the set's folder")
        values: dict[str, Any] = {"folder": folder}
        rest = dict(record)
        for f in fields(cls):
            key = _RENAMED.get(f.name, f.name)
            if key in rest and f.name not in ("other", "folder"):
                values[f.name] = rest.pop(key)
        try:
            values["bbox"] = tuple(int(v) for v in values.get("bbox", (0, 0, 0, 0)))
            values["contrast_ids"] = tuple(str(v) for v in values.get("contrast_ids", ()))
        except (TypeError, ValueError) as error:
            raise InputError(f"triplet {record['id']}: bbox or contrast_ids are no lists") from error
        for name in ("detail", "licence", "licence_url", "attribution"):
            values[name] = values.get(name) or ""
        return cls(**values, other=rest)


def read_pixels(path: str | os.PathLike[str], *, mask: bool = False) -> npt.NDArray[Any]:
    """Read an image or mask of a triplet set.

    Args:
        path: A record's path, with the set's folder before it: an image file, or ``stack.npy#3``.
        mask: Whether it is a mask.

    Returns:
        An image (H, W, 3) uint8 RGB, or a mask (H, W) bool.

    Raises:
        InputError: The file is missing or damaged, is no stack of images (of masks, if ``mask``), or is too short.
    """
    file, index = split_image_path(os.fspath(path))
    if index is None:
        pixels = np.asarray(open_image(file))
        return pixels[..., 0] >= 128 if mask else pixels
    stack = _open_stack(file)
    fits = (stack.dtype == np.bool_) if mask else (stack.dtype == np.uint8 and stack.shape[3:] == (3,))
    if not fits or stack.ndim != (3 if mask else 4):
        layout = "masks, (N, H, W) bool" if mask else "images, (N, H, W, 3) uint8"
        raise InputError(f"{file} holds {stack.dtype} of shape {stack.shape}, not a stack of {layout}")
    if index >= len(stack):
        raise InputError(f"{file} has no #{index}: it holds {len(stack)}, from #0 on")
    return np.array(stack[index])


def split_image_path(path: str) -> tuple[str, int | None]:
    """Split a record's path into the file and, for a stack, the index in it; else None.

    Raises:
        InputError: The path names a stack without an index.
    """
    file, mark, number = path.rpartition(".npy#")
    if mark and number.isdecimal():
        return f"{file}.npy", int(number)
    if mark or path.endswith(".npy"):
        stack = f"{file}.npy" if mark else path
        raise InputError(f"{path} names no image of the stack: say which one, like {stack}#0")
    return path, None


def _open_stack(file: str) -> npt.NDArray[Any]:
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"no such file: {file}") from None
    except Exception as error:
        raise InputError(f"{file} is not a NumPy file, or damaged: {reason_of(error)}") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{file} is an archive of arrays, not one: write it with numpy.save")
    return found


def read_triplets(folder: str | os.PathLike[str], *, fold: int | None = None) -> list[Triplet]:
    """Read a triplet set, or one part of it.

    Args:
        folder: Holds ``triplets.jsonl``.
        fold: Only the triplets of this fold; all when None.

    Returns:
        The triplets, in the file's order.

    Raises:
        InputError: There is no such set, a line of it is damaged, an id occurs twice, or the fold is empty.
    """
    file = Path(folder) / TRIPLETS_FILE
    try:
        lines = split_lines(read_text(file, MOST_ANNOTATIONS))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a triplet set: it holds no {TRIPLETS_FILE}") from None
    triplets: list[Triplet] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = parse_json(line, f"{file}, line {number} is damaged")
        if not isinstance(record, dict):
            raise InputError(f"{file}, line {number} is not a record")
        try:
            triplets.append(Triplet.from_record(record, Path(folder)))
        except InputError as error:
            raise InputError(f"{file}, line {number}: {error}") from error
    seen: set[str] = set()
    for triplet in triplets:
        if triplet.id in seen:
            raise InputError(f"{file} holds the id {triplet.id} twice")
        seen.add(triplet.id)
    chosen = [triplet for triplet in triplets if fold is None or triplet.fold == fold]
    if fold is not None and not chosen:
        raise InputError(f"{file} has no fold {fold}: it has {sorted({t.fold for t in triplets})}")
    return chosen


def write_triplets(triplets: Iterable[Triplet], folder: Path, *, overwrite: bool = False) -> None:
    """Write ``triplets.jsonl``, whole or not at all; images are not written.

    Raises:
        OutputExistsError: It is there and ``overwrite`` is false.
        InputError: The folder cannot be written to.
    """
    with atomic_file(folder / TRIPLETS_FILE, overwrite=overwrite) as stream:
        for triplet in triplets:
            stream.write(json.dumps(triplet.to_record(), ensure_ascii=False).encode() + b"\n")
