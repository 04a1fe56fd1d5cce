"""A folder of photographs with pixel labels.

``photos/NAME.jpg`` (or .png, .webp), ``labels/NAME.png`` whose values index the list of names in ``labels.json``.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from mmgrad_explain._system.user_files import read_json, reading
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]

_CACHED = 2000  # photographs kept decoded
_LARGEST = 640  # longest side of a cached photograph, pixels


class PhotoFolder:
    """Photographs and their labels, read at the first access and cached.

    Args:
        folder: The folder.
        holdout: Share of the photographs that are held out, chosen by their names.
        held_out: Take the held-out photographs instead of the others.

    Attributes:
        names: Names of the labels; the first is the background.

    Raises:
        InputError: If the folder is not as described, or no photograph is left.
    """

    def __init__(self, folder: str | Path, *, holdout: float = 0.0, held_out: bool = False) -> None:
        self.folder = Path(folder).expanduser()
        self.names = _read_names(self.folder)
        every = _pairs(self.folder)
        self._pairs = [pair for pair in every if (share_of_name(pair[0].stem) < holdout) == held_out]
        if not self._pairs:
            part = "held out" if held_out else "left to train on"
            raise InputError(f"{self.folder}: none of {len(every)} photographs is {part}; choose another holdout")
        self._cache: OrderedDict[int, tuple[_Pixels, _Pixels]] = OrderedDict()

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[_Pixels, _Pixels]:
        """Return a photograph ``(H, W, 3)`` and its labels ``(H, W)``, both uint8; large ones are shrunk.

        Raises:
            InputError: If a file cannot be read, or the two differ in size.
        """
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        photo, labels = open_image(self._pairs[index][0]), _open_labels(self._pairs[index][1])
        if photo.size != labels.size:
            raise InputError(f"{self._pairs[index][1]} has {labels.size} pixels, its photograph {photo.size}")
        if max(photo.size) > _LARGEST:
            ratio = _LARGEST / max(photo.size)
            smaller = (max(1, round(photo.width * ratio)), max(1, round(photo.height * ratio)))
            photo, labels = photo.resize(smaller, Resampling.BICUBIC), labels.resize(smaller, Resampling.NEAREST)
        self._cache[index] = (np.asarray(photo), np.asarray(labels))
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return self._cache[index]


def draw_round(count: int, seed: int, step: int, wanted: int) -> list[int]:
    """Return part ``step``, of ``wanted`` indices, of an endless series: all below ``count``, each round reshuffled."""
    places = range(step * wanted, (step + 1) * wanted)
    rounds = {
        number: np.random.default_rng([seed, 1, number]).permutation(count) for number in {i // count for i in places}
    }
    return [int(rounds[i // count][i % count]) for i in places]


def share_of_name(stem: str) -> float:
    """Return a number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:6], "big") / 2**48


def _read_names(folder: Path) -> list[str]:
    path = folder / "labels.json"
    try:
        names = read_json(path)
    except FileNotFoundError:
        raise InputError(
            f"{folder} has no labels.json: a folder of photos/, labels/ and labels.json is needed"
        ) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not 1 < len(names) < 255:
        raise InputError(f"{path} must be a list of names, 2 to 254, the first one the background's")
    return names


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Find the photographs that have labels, sorted by name."""
    photos, labels = folder / "photos", folder / "labels"
    found = sorted(p for p in photos.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if photos.is_dir() else []
    pairs = [(photo, labels / f"{photo.stem}.png") for photo in found]
    pairs = [pair for pair in pairs if pair[1].is_file()]
    if not pairs:
        raise InputError(f"{folder} has no photos/NAME.jpg with labels/NAME.png")
    return pairs


def _open_labels(path: Path) -> Any:
    with reading(f"{path} cannot be read"), Image.open(path) as image:
        labels = image.copy()
    if labels.mode not in ("L", "P"):
        raise InputError(f"{path} must hold one number a pixel (mode L or P), not {labels.mode}")
    return Image.fromarray(np.asarray(labels))
