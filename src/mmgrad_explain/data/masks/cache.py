"""Masks on disk: made once for each caption, in parts that are written whole, so that a run that stopped goes on.

Below the folder there is one folder for each hash of settings; in it ``settings.json``, and for each 128 captions of a
split ``PART-00000.npy`` ``(128, 2, size, size)`` uint8 (masks of reference and target, 255 is 1) and
``PART-00000.json``, what is known of each: a key of its images and text, the maker, and why others made nothing.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch

from mmgrad_explain._system.files import atomic_file, remove_left_overs
from mmgrad_explain._system.locking import locked
from mmgrad_explain._system.user_files import parse_json, read_text
from mmgrad_explain.data.masks.makers import build_maker, read_image
from mmgrad_explain.data.masks.units import UnitMasks, list_units
from mmgrad_explain.data.set_workers import make_in_order
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.targets import lay_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.cir.dataset import CirSet
    from mmgrad_explain.data.masks.settings import MaskSettings
    from mmgrad_explain.data.masks.units import Unit

_TOGETHER = 128  # captions in a file
_FOLDER = ".mmgrad-masks"


def masks_folder(data: CirSet, folder: str | Path | None) -> Path:
    """Return where masks are kept: the folder that was given, or one in the data set's own folder."""
    return data.root / _FOLDER if folder is None else Path(folder).expanduser()


@dataclass(frozen=True)
class _Chunk:
    """Captions whose masks are in one file.

    Attributes:
        arrays: The file of the masks.
        units: The captions.
    """

    arrays: Path
    units: tuple[Unit, ...]

    @property
    def notes(self) -> Path:
        """The file of what is known of each."""
        return self.arrays.with_suffix(".json")

    def read_notes(self) -> list[dict[str, Any]] | None:
        """Read what is known of each caption; None if the files are not there, damaged, or of other captions."""
        try:
            found = parse_json(read_text(self.notes), "damaged")
        except (OSError, InputError):
            return None
        keys = [unit.key() for unit in self.units]
        good = isinstance(found, list) and [one.get("key") for one in found if isinstance(one, dict)] == keys
        return found if good and self.arrays.is_file() else None


class MaskCache:
    """The masks of some parts of a data set.

    Args:
        folder: The folder of the settings' hash.
        size: Rows and columns of each mask.
        chunks: The files of each part, in order.
        notes: What is known of each caption of each part, in the order of
            :func:`~mmgrad_explain.data.masks.units.list_units`.
    """

    def __init__(
        self, folder: Path, size: int, chunks: dict[str, list[Path]], notes: dict[str, list[dict[str, Any]]]
    ) -> None:
        self.folder = folder
        self.size = size
        self.notes = notes
        self._chunks = chunks

    def read(self, part: str, index: int) -> npt.NDArray[np.float32]:
        """Read the masks of a caption, ``(2, size, size)`` in [0, 1]: of reference and target; zeros without one.

        Args:
            part: The part of the set.
            index: The caption's place in :func:`~mmgrad_explain.data.masks.units.list_units`.

        Raises:
            InputError: The file is gone or damaged.
        """
        if self.notes[part][index]["maker"] is None:
            return np.zeros((2, self.size, self.size), np.float32)
        masks = _open(self._chunks[part][index // _TOGETHER])
        return np.asarray(masks[index % _TOGETHER] / 255, np.float32)

    def summarize(self) -> dict[str, Any]:
        """Count what was made: captions, those of each maker, the reasons why makers made nothing, and the words."""
        notes = [note for of_part in self.notes.values() for note in of_part]
        makers = Counter(note["maker"] for note in notes if note["maker"] is not None)
        reasons: dict[str, Counter[str]] = {}
        for note in notes:
            for maker, reason in note["reasons"].items():
                reasons.setdefault(maker, Counter())[reason] += 1
        return {
            "captions": len(notes),
            "with a mask": sum(makers.values()),
            "by maker": dict(makers.most_common()),
            "named by": dict(Counter(note["named_by"] for note in notes if note["named_by"]).most_common()),
            "not made": {maker: dict(counts.most_common()) for maker, counts in reasons.items()},
        }


def make_masks(
    data: CirSet,
    parts: Iterable[str],
    settings: MaskSettings,
    folder: str | Path | None = None,
    *,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> MaskCache:
    """Make the masks of some parts that are not on disk yet.

    Args:
        data: The set.
        parts: Keys of ``data.queries``.
        settings: How to make them.
        folder: Where they are kept; None takes ``.mmgrad-masks`` in the set's folder.
        workers: Processes; with 1 everything runs in this one.
        device: Where CLIPSeg runs.
        progress: Called with the number of captions that are done, and of all.

    Returns:
        All masks of these parts.

    Raises:
        InputError: The folder cannot be written to or is in use, or a maker lacks its file or model.
    """
    place = masks_folder(data, folder) / settings.hash()
    chunks = {part: _divide(list_units(data, part), place, part) for part in parts}
    every = [chunk for of_part in chunks.values() for chunk in of_part]
    with locked(place):
        remove_left_overs(place)
        with atomic_file(place / "settings.json", overwrite=True) as stream:
            stream.write(json.dumps(asdict(settings), indent=1).encode())
        missing = [chunk for chunk in every if chunk.read_notes() is None]
        total = sum(len(chunk.units) for chunk in every)
        done = total - sum(len(chunk.units) for chunk in missing)
        tasks = [(chunk, settings, device, workers) for chunk in missing]
        for count, _ in make_in_order(_make_chunk, tasks, workers):
            done += count
            if progress is not None:
                progress(done, total)
    _makers.cache_clear()  # CLIPSeg is large
    return _open_cache(place, settings, chunks)


def load_masks(
    data: CirSet, parts: Iterable[str], settings: MaskSettings, folder: str | Path | None = None
) -> MaskCache:
    """Open masks that are on disk; see :func:`make_masks`.

    Raises:
        InputError: Some are not there.
    """
    place = masks_folder(data, folder) / settings.hash()
    return _open_cache(place, settings, {part: _divide(list_units(data, part), place, part) for part in parts})


def _divide(units: Sequence[Unit], place: Path, part: str) -> list[_Chunk]:
    return [
        _Chunk(place / f"{quote(part, safe='')}-{number:05}.npy", tuple(units[start : start + _TOGETHER]))
        for number, start in enumerate(range(0, len(units), _TOGETHER))
    ]


def _open_cache(place: Path, settings: MaskSettings, chunks: dict[str, list[_Chunk]]) -> MaskCache:
    notes: dict[str, list[dict[str, Any]]] = {}
    for part, of_part in chunks.items():
        notes[part] = []
        for chunk in of_part:
            found = chunk.read_notes()
            if found is None:
                raise InputError(
                    f"masks of {part} are not made, or are of other images or texts: make them with "
                    f"`mmgrad-explain data masks`; they would be in {place}"
                )
            notes[part] += found
    return MaskCache(place, settings.size, {part: [one.arrays for one in of] for part, of in chunks.items()}, notes)


@lru_cache(maxsize=64)
def _open(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: remove it, and make the masks again") from error


@lru_cache(maxsize=1)
def _makers(settings: MaskSettings, device: str) -> dict[str, Any]:
    """Build the makers of this process, each once."""
    return {given: build_maker(given, settings, device) for given in settings.makers}


def _make_chunk(chunk: _Chunk, settings: MaskSettings, device: str, workers: int) -> int:
    """Make the masks of a file and write it; return the number of captions."""
    if workers > 1:
        torch.set_num_threads(1)
    makers = _makers(settings, device)
    reasons: list[dict[str, str]] = [{} for _ in chunk.units]
    made: dict[int, tuple[str, UnitMasks]] = {}
    left = []
    for index, unit in enumerate(chunk.units):
        if (problem := _find_problem(unit)) is None:
            left.append(index)
        else:
            reasons[index]["images"] = problem
    for given, maker in makers.items():
        name = given.partition(":")[0]
        for index, masks in zip(left, maker([chunk.units[i] for i in left]) if left else [], strict=True):
            if masks.reason is None:
                made[index] = name, masks
            else:
                reasons[index][name] = masks.reason
        left = [index for index in left if index not in made]
    arrays = np.zeros((len(chunk.units), 2, settings.size, settings.size), np.uint8)
    notes = []
    for index, unit in enumerate(chunk.units):
        masks = made[index][1] if index in made else UnitMasks()
        for side, mask in enumerate((masks.reference, masks.target)):
            if mask is not None:
                arrays[index, side] = _to_grid(mask, settings.size)
        about = {
            "key": unit.key(),
            "maker": made[index][0] if index in made else None,
            "words": masks.words,
            "named_by": masks.named_by,
        }
        notes.append({**about, "reasons": reasons[index]})
    stream = io.BytesIO()
    np.save(stream, arrays)
    for path, content in ((chunk.arrays, stream.getvalue()), (chunk.notes, json.dumps(notes).encode())):
        with atomic_file(path, overwrite=True) as file:  # the notes last: with them the masks are there
            file.write(content)
    _open.cache_clear()
    return len(chunk.units)


def _find_problem(unit: Unit) -> str | None:
    """Find out why a unit's images cannot be looked at; None if they can."""
    for path in (unit.reference, unit.target):
        if path is None:
            return "an image is missing"
        with suppress(InputError):
            read_image(path)
            continue
        return "an image cannot be read"
    return None


def _to_grid(mask: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.uint8]:
    laid = lay_on_grid(torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None], (size, size))[0]
    return np.asarray((laid.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
