"""What the readers of phrase sets share: files, images, and problems that are counted and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import MOST_ANNOTATIONS, is_text, parse_json, read_text
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.data.phrases.dataset import PhraseSample, PhraseSet
from mmgrad_explain.data.phrases.region import Box, Region, Segmentation
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mmgrad_explain.data.phrases.region import Shape


class PhraseCollector:
    """Collects a data set while its files are read.

    Args:
        name: Of the format.
        root: The folder or file.
        split: The split that the user named, or None.
        images: The folder of images that the user named, or None.
    """

    def __init__(self, name: str, root: Path, *, split: str | None = None, images: Path | None = None) -> None:
        self.name = name
        self.root = root
        self.split = split
        self.images = images
        self.description = ""
        self.samples: list[PhraseSample] = []
        self.problems: dict[str, list[str]] = {}
        self._seen: set[str] = set()
        self._places: dict[str, Path] = {}
        self._last: Path | None = None

    def add_problem(self, what: str, which: object) -> None:
        """Count something that is damaged or left out."""
        self.problems.setdefault(what, []).append(str(which))

    def add(self, sample: PhraseSample) -> None:
        """Add a sample; one without a word, or whose id or path cannot be used, becomes a problem."""
        if not sample.text.strip() or not is_text(sample.text):
            self.add_problem("phrase without a word", sample.id)
        elif sample.id in self._seen:
            self.add_problem("sample that is listed twice", sample.id)
        else:
            self._seen.add(sample.id)
            self.samples.append(sample)

    def need_folder(self) -> None:
        """Check that the root is a folder.

        Raises:
            InputError: It is not.
        """
        if not self.root.is_dir():
            raise InputError(f"{self.root} is not a folder: give the one that holds {self.name}")

    def read_text(self, file: Path) -> str:
        """Read a text file.

        Raises:
            InputError: It is missing or cannot be read.
        """
        try:
            return read_text(file, MOST_ANNOTATIONS, "utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"no such file: {file}; it belongs to {self.name}") from None

    def read_json(self, file: Path) -> Any:
        """Read a JSON file.

        Raises:
            InputError: It is missing, or not JSON.
        """
        return parse_json(self.read_text(file), f"{file} is not JSON, or breaks off")

    def find_image(self, name: str, folders: Sequence[Path]) -> Path | None:
        """Find an image in the first of some folders that has it; else name its place in the first folder.

        Args:
            name: Its path below the folder; with or without a suffix.
            folders: The folders, unless the user named one.

        Returns:
            The file; None, with a problem, where the name leads out of the folder.
        """
        if leaves_folder(name) or not is_text(name):
            self.add_problem("image whose path leads out of the folder", name)
            return None
        if name not in self._places:
            self._places[name] = self._find(name, folders if self.images is None else [self.images])
        return self._places[name]

    def _find(self, name: str, folders: Sequence[Path]) -> Path:
        bare = name.rpartition("/")[2]
        names = [name, *([bare] if bare != name else [])]
        if not name.lower().endswith(IMAGE_SUFFIXES):
            names = [one + suffix for one in names for suffix in IMAGE_SUFFIXES]
        likely = [folder for folder in folders if folder == self._last]  # images lie together
        for folder in (*likely, *folders):
            for one in names:
                if (folder / one).is_file():
                    self._last = folder
                    return folder / one
        return folders[0] / names[0]

    def make_set(self) -> PhraseSet:
        """Make the data set.

        Raises:
            InputError: It holds no sample.
        """
        found = PhraseSet(self.name, self.root, self.description, tuple(self.samples), self.problems)
        if not self.samples:
            why = found.problem_lines()[:1]
            raise InputError(f"{self.root} holds no phrase with a region: {why[0] if why else self.description}")
        return found


def shape_of(annotation: Any) -> Shape:
    """Return the shape of a COCO annotation: its segmentation, or its box where it has none.

    Raises:
        InputError: It has neither.
    """
    if isinstance(annotation, dict) and annotation.get("segmentation"):
        return Segmentation(annotation["segmentation"])
    if isinstance(annotation, dict) and isinstance(annotation.get("bbox"), list):
        return Box.from_values(annotation["bbox"], size=True)
    raise InputError("it has neither a segmentation nor a box")


def size_of(entry: Any) -> tuple[int, int] | None:
    """Return height and width of a COCO image entry, where it has them."""
    size = entry.get("height"), entry.get("width")
    return (size[0], size[1]) if all(isinstance(side, int) for side in size) else None


def region_of(shapes: Sequence[Shape], size: tuple[int, int] | None = None) -> Region:
    """Put shapes together, each once."""
    kept: list[Shape] = []
    for shape in shapes:
        if shape not in kept:
            kept.append(shape)
    return Region(tuple(kept), size)
