"""What the readers of composed-retrieval sets share: reading files, finding images, collecting findings.

A reader gets a :class:`Collector` and adds the queries, galleries and images to it. What is missing or damaged becomes
a finding; nothing is dropped without one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import (
    MOST_ANNOTATIONS,
    parse_json,
    read_text,
    reason_of,
    split_lines,
    strip_blanks,
)
from mmgrad_explain.data.cir.checks import gallery_findings, query_findings
from mmgrad_explain.data.cir.dataset import (
    CirSet,
    CirTriplet,
    Finding,
    ImageIndex,
    find_level,
    list_used_images,
    sort_by_level,
)
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mmgrad_explain.data.cir.dataset import Level


class Damaged(ValueError):  # noqa: N818 - a record is damaged
    """A record lacks something; the message says what."""


class Collector:
    """Collects a data set while its files are read.

    Args:
        name: Of the format.
        root: The folder.
        splits: The splits to read.
        asked: Whether the user named them; then each of them has to be there.
        categories: The categories to read, where the format has any.
    """

    def __init__(
        self, name: str, root: Path, splits: Sequence[str], *, asked: bool, categories: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.root = root
        self.splits = tuple(splits)
        self.asked = asked
        self.categories = tuple(dict.fromkeys(categories))
        self.queries: dict[str, tuple[CirTriplet, ...]] = {}
        self.galleries: dict[str, tuple[str, ...]] = {}
        self.findings: list[Finding] = []
        self.absent: dict[str, Path] = {}
        self.advice = "put the images there"
        self._places: dict[str, list[Path]] = {}
        self._outside: dict[str, str] = {}
        self._folders: dict[Path, dict[str, str]] = {}

    # --------------------------------------------------------------------------------------------------------- findings

    def add_finding(self, level: Level, where: str, what: str, names: Iterable[str], advice: str) -> None:
        """Add a finding, unless ``names`` is empty."""
        self.findings += Finding.of(level, where, what, names, advice)

    # ------------------------------------------------------------------------------------------------------------ files

    def find_folder(self, *inside: str, holding: str) -> Path:
        """Find the first of some folders below the root (``"."``: the root) that holds a file; else the first."""
        folders = [self.root / name for name in inside]
        return next((folder for folder in folders if (folder / holding).exists()), folders[0])

    def is_present(self, part: str, *files: Path) -> bool:
        """Return whether any of a part's files exists; if none does, note the part as absent."""
        if any(file.exists() for file in files):
            return True
        self.absent[part] = files[0]
        return False

    def read_text(self, part: str, file: Path) -> str | None:
        """Read a text file; None, with a finding, where it cannot be read."""
        try:
            return read_text(file, MOST_ANNOTATIONS, "utf-8-sig")
        except FileNotFoundError:
            self.add_finding(
                find_level(part), part, "file missing", [self.shorten(file)], "it belongs to the annotations"
            )
        except InputError as error:
            reason = f"{self.shorten(file)}: {reason_of(error.__cause__ or error)}"
            self.add_finding(find_level(part), part, "file unreadable", [reason], "fetch it again")
        return None

    def read_json(self, part: str, file: Path, kind: type) -> Any:
        """Read a JSON file that holds a list or dict (``kind``); else return an empty one, with a finding."""
        text = self.read_text(part, file)
        if text is None:
            return kind()
        try:
            found = parse_json(text, "no JSON")
        except InputError as error:
            reason = f"{self.shorten(file)}: {reason_of(error.__cause__ or error)}"
            self.add_finding(find_level(part), part, "file is not JSON, or breaks off", [reason], "fetch it again")
            return kind()
        if not isinstance(found, kind):
            reason = f"{self.shorten(file)}: a {type(found).__name__} where a {kind.__name__} should be"
            self.add_finding(
                find_level(part), part, "file of another form", [reason], f"is {self.root} the right folder?"
            )
            return kind()
        return found

    def read_lines(self, part: str, file: Path) -> list[str]:
        """Read the lines of a text file, without blanks around them and without empty lines."""
        return [line for line in map(strip_blanks, split_lines(self.read_text(part, file) or "")) if line]

    def make_queries(
        self, part: str, file: Path, entries: Iterable[Any], make: Callable[[int, Any], CirTriplet]
    ) -> Iterator[CirTriplet]:
        """Make queries of a file's entries, numbered from 0; entries that lack something become a finding."""
        damaged = []
        for number, entry in enumerate(entries):
            try:
                yield make(number, entry)
            except Damaged as error:
                damaged.append(f"no. {number + 1} {error}")
        what = f"record of {self.shorten(file)} that lacks something"
        self.add_finding(find_level(part), part, what, damaged, "compare the file with the published one")

    def keep_usable(self, part: str, file: Path, entries: Iterable[Any], usable: Callable[[Any], bool]) -> list[Any]:
        """Return the usable entries of a list of images; the others become a finding."""
        kept, damaged = list[Any](), list[str]()
        for number, entry in enumerate(entries, 1):
            (kept if usable(entry) else damaged).append(entry if usable(entry) else f"no. {number}")
        what = f"entry of {self.shorten(file)} that names no image"
        self.add_finding(find_level(part), part, what, damaged, "compare the file with the published one")
        return kept

    def shorten(self, path: Path) -> str:
        """Return a path as reports show it: relative to the root, if it is below it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    # ----------------------------------------------------------------------------------------------------------- images

    def add_image(self, image: str, *places: Path) -> None:
        """Add an image and its possible places; the first place with a file counts, with any image suffix."""
        if image not in self._places:
            self._places[image] = [place for place in places if self._is_inside(place)]
            if not self._places[image]:
                self._outside[image] = str(places[0])

    def _is_inside(self, place: Path) -> bool:
        return place.is_relative_to(self.root) and not leaves_folder(place.relative_to(self.root).as_posix())

    def list_images(self, folder: Path) -> dict[str, Path]:
        """List the image files below a folder by name; a name that occurs twice becomes a finding."""
        found: dict[str, Path] = {}
        again = []
        for parent, folders, files in os.walk(folder, followlinks=True):
            folders.sort()
            for name in sorted(files):
                path = Path(parent, name)
                if path.suffix.lower() in IMAGE_SUFFIXES and found.setdefault(name, path) != path:
                    again.append(self.shorten(path))
        self.add_finding(
            "odd", "pictures", "file name that occurs twice", again, "the first in the order of paths is used"
        )
        return found

    def _find(self, place: Path) -> Path | None:
        """Find the file at a place, or one with another image suffix; None if there is none or it is empty."""
        stack, mark, _ = place.name.rpartition("#")
        if mark and stack.endswith(".npy"):
            return place if (place.parent / stack).is_file() else None
        names = self._listed(place.parent)
        for name in (place.name, *(place.stem + suffix for suffix in IMAGE_SUFFIXES)):
            found = names.get(name) or names.get(name.lower())
            if found is not None:
                return place.with_name(found)
        return None

    def _listed(self, folder: Path) -> dict[str, str]:
        """List the files of a folder that are not empty, by name and by name in lower case; each folder once."""
        if folder not in self._folders:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(e.name for e in entries if e.is_file() and e.stat().st_size)
            except OSError:
                names = []
            self._folders[folder] = {name.lower(): name for name in names} | {name: name for name in names}
        return self._folders[folder]

    # -------------------------------------------------------------------------------------------------------------- end

    def make_set(self) -> CirSet:
        """Make the data set of all that was collected."""
        paths: dict[str, Path] = {}
        missing = set()
        for image, places in self._places.items():
            found = next(filter(None, map(self._find, places)), None)
            paths[image] = found or next(iter(places), self.root)
            if found is None:
                missing.add(image)
        self._note_absent()
        for part, queries in self.queries.items():
            self._note_empty(part)
            doubled = gallery_findings(part, self.galleries[part])
            self.galleries[part] = tuple(dict.fromkeys(self.galleries[part]))
            gallery = frozenset(self.galleries[part])
            self.findings += [*doubled, *query_findings(part, queries, gallery, paths, find_level(part))]
        self._note_missing(paths, missing)
        index = ImageIndex(paths, frozenset(missing), self.galleries)
        return CirSet(self.name, self.root, self.queries, index, sort_by_level(self.findings))

    def _note_empty(self, part: str) -> None:
        """Add a finding about a part without a query, unless another finding gives the reason."""
        level = find_level(part)
        if not self.queries[part] and not any(one.level == level and one.where == part for one in self.findings):
            self.add_finding(level, part, "part without a query", [part], "take another split, or fetch its file again")

    def _note_absent(self) -> None:
        enough = any(find_level(part) == "needed" and queries for part, queries in self.queries.items())
        for part, file in self.absent.items():
            if self.asked or (not enough and find_level(part) == "needed"):
                self.add_finding(
                    find_level(part), part, "no annotations", [self.shorten(file)], "fetch the annotation files"
                )
            else:
                advice = "the rest can be used without it"
                self.add_finding("absent", part, "no annotations", [self.shorten(file)], advice)

    def _note_missing(self, paths: dict[str, Path], missing: set[str]) -> None:
        for part, queries in self.queries.items():
            wanted = [image for image in list_used_images(queries, self.galleries[part]) if image in paths]
            lacking = [
                self.shorten(paths[image]) for image in wanted if image in missing and image not in self._outside
            ]
            share = f"image missing or empty (of {len(wanted)})"
            outside = [self._outside[image] for image in wanted if image in self._outside]
            self.add_finding(
                find_level(part), part, "image whose path leads out of the folder", outside, "it is not read"
            )
            self.add_finding(find_level(part), part, share, lacking, self.advice)


def has_value(entry: Any, key: str) -> bool:
    """Return whether a record has this key."""
    return isinstance(entry, dict) and key in entry


def require_text(entry: Any, key: str, *, number: bool = False) -> str:
    """Read a text of a record, or, if ``number``, a whole number as text.

    Raises:
        Damaged: It is missing, or of another kind.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    if number and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    raise Damaged(f"has no {key}")


def require_texts(entry: Any, key: str) -> tuple[str, ...]:
    """Read a list of texts or whole numbers of a record, as texts.

    Raises:
        Damaged: It is missing, or of another kind.
    """
    values = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
        raise Damaged(f"has no list {key}")
    return tuple(map(str, values))
