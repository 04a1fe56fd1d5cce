"""Folders of photographs with pixel labels, and of photographs with tags.

``photos/NAME.jpg`` (or .png, .webp), ``labels/NAME.png`` whose values index the list of names in ``labels.json``. A
folder may also hold ``tagged/NAME.jpg``, of which only ``tags.json`` (NAME to the names of what is there) is known.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from mmgrad_explain._system.user_files import read_json, reading
from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]

_CACHED = 3000  # photographs kept decoded
_LARGEST = 640  # longest side of a cached photograph, pixels


@dataclass(frozen=True)
class PhotoFile:
    """A photograph and what is known of it.

    Attributes:
        photo: The image file.
        labels: The file of its label map; None if only tags are known.
        tags: Names of what it shows, where only these are known.
    """

    photo: Path
    labels: Path | None
    tags: frozenset[str] = frozenset()


class PhotoFolder:
    """Photographs and their labels, read at the first access and cached.

    Of photographs that are there twice one is used: a held-out one before others, a labelled one before one with tags.

    Args:
        folder: The folder.
        more: Further folders, with the same ``labels.json``.
        twins: A JSON file of lists of names of photographs that show the same.
        holdout: Share of the photographs that are held out, chosen by their names.
        held_out: Take the held-out photographs instead of the others.
        tagged: Take the photographs with tags as well; they follow the labelled ones.

    Attributes:
        names: Names of the labels; the first is the background.
        labelled: Number of photographs with labels.

    Raises:
        InputError: If a folder or file is not as described, or no labelled photograph is left.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        more: Sequence[str | Path] = (),
        twins: str | Path | None = None,
        holdout: float = 0.0,
        held_out: bool = False,
        tagged: bool = False,
    ) -> None:
        folders = [Path(one).expanduser() for one in (folder, *more)]
        self.folder = folders[0]
        self.names = _read_names(self.folder)
        for other in folders[1:]:
            if _read_names(other) != self.names:
                raise InputError(f"{other / 'labels.json'} lists other names than {self.folder / 'labels.json'}")
        every = [file for one in folders for file in _labelled(one)]
        if tagged:
            every += [file for one in folders for file in _tagged(one, self.names)]
        second = _find_doubles(every, _read_twins(twins), holdout)
        self.files = [
            file
            for file in every
            if file.photo.stem not in second and (share_of_name(file.photo.stem) < holdout) == held_out
        ]
        self.labelled = sum(file.labels is not None for file in self.files)
        if not self.labelled:
            part = "held out" if held_out else "left to train on"
            raise InputError(f"{self.folder}: none of {len(every)} photographs is {part}; choose another holdout")
        self._cache: OrderedDict[int, tuple[_Pixels, _Pixels]] = OrderedDict()

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[_Pixels, _Pixels]:
        """Return a photograph ``(H, W, 3)`` and its labels ``(H, W)``, both uint8; large ones are shrunk.

        Where only tags are known, all labels are :data:`~mmgrad_explain.data.batches.batch.IGNORE`.

        Raises:
            InputError: If a file cannot be read, or the two differ in size.
        """
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        file = self.files[index]
        photo = open_image(file.photo)
        labels = Image.new("L", photo.size, IGNORE) if file.labels is None else _open_labels(file.labels)
        if photo.size != labels.size:
            raise InputError(f"{file.labels} has {labels.size} pixels, its photograph {photo.size}")
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


def _labelled(folder: Path) -> list[PhotoFile]:
    """Find the photographs that have labels, sorted by name."""
    labels = folder / "labels"
    pairs = [(photo, labels / f"{photo.stem}.png") for photo in _images(folder / "photos")]
    found = [PhotoFile(*pair) for pair in pairs if pair[1].is_file()]
    if not found:
        raise InputError(f"{folder} has no photos/NAME.jpg with labels/NAME.png")
    return found


def read_tags(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Read ``folder/tags.json``: what photographs show, by their names; empty without such a file.

    Raises:
        InputError: The file is not as described, or a tag is none of ``names``.
    """
    path = folder / "tags.json"
    try:
        tags = read_json(path)
    except FileNotFoundError:
        return {}
    if not isinstance(tags, dict) or not all(isinstance(of, list) for of in tags.values()):
        raise InputError(f"{path} must give each photograph's name a list of tags")
    for name in {name for of in tags.values() for name in of if name not in names}:
        raise InputError(f"{path}: no label is called {name!r}; {did_you_mean(str(name), names)}see labels.json")
    return tags


def _tagged(folder: Path, names: Sequence[str]) -> list[PhotoFile]:
    """Find the photographs of which only tags are known, sorted by name."""
    tags = read_tags(folder, names)
    images = _images(folder / "tagged")
    return [PhotoFile(photo, None, frozenset(tags[photo.stem])) for photo in images if photo.stem in tags]


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if folder.is_dir() else []


def _read_twins(path: str | Path | None) -> list[list[str]]:
    if path is None or path == "":
        return []
    file = Path(path).expanduser()
    try:
        twins = read_json(file)
    except FileNotFoundError:
        raise InputError(f"twins: there is no file {file}") from None
    if not isinstance(twins, list) or not all(isinstance(of, list) and all(map(_is_text, of)) for of in twins):
        raise InputError(f"{file} must be a list of lists of names: those of photographs that show the same")
    return twins


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _find_doubles(files: Sequence[PhotoFile], twins: Sequence[Sequence[str]], holdout: float) -> set[str]:
    """Return the names of photographs that show the same as another one that is used."""
    order = {file.photo.stem: place for place, file in reversed(list(enumerate(files)))}
    doubles: set[str] = set()
    for names in twins:
        here = [name for name in dict.fromkeys(names) if name in order and name not in doubles]
        here.sort(key=lambda name: (share_of_name(name) >= holdout, order[name]))
        doubles.update(here[1:])
    return doubles


def _open_labels(path: Path) -> Any:
    with reading(f"{path} cannot be read"), Image.open(path) as image:
        labels = image.copy()
    if labels.mode not in ("L", "P"):
        raise InputError(f"{path} must hold one number a pixel (mode L or P), not {labels.mode}")
    return Image.fromarray(np.asarray(labels))
