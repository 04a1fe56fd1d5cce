"""Folders into a gallery's rows, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.composers.embedding import embed_pictures
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.image_files import find_pictures, inside, read_file, state_of
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.reading_notes import notes_of_picture
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from PIL import Image

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.composed_retrieval import Progress
    from mmgrad_explain.gallery.image_files import Found
    from mmgrad_explain.gallery.store import Entry, GalleryStore

_SAMPLE = 512  # pixels


@dataclass
class IndexReport:
    """What indexing did; every file of the folders is counted once.

    Attributes:
        added: Files that are new.
        changed: Files whose content is another than before.
        unchanged: Files that were there already.
        removed: Rows whose file is gone.
        unreadable: Files that are no pictures or cannot be read, by path, and why; they are in no gallery.
        others: Files that are no pictures by their names.
        hidden: Files and folders whose names begin with a dot; they are left out, a folder with all that lies in it.
        notes: What should be known of a picture that was embedded now, by path: that it is the first of a stack, say.
        total: Rows in the gallery now.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    others: int = 0
    hidden: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    total: int = 0


def index_folders(
    store: GalleryStore,
    composer: Composer,
    folders: Sequence[str | Path],
    *,
    batch: int = 32,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring a gallery up to what lies in some folders; rows of other folders stay.

    Each batch is complete when it is written, so that one can stop at any time, and go on by doing the same again.
    Files that are as they were, by size and time, are not read.

    Args:
        store: The gallery's rows.
        composer: The gallery's model.
        folders: With the folders in them, through links.
        batch: Pictures that go through the model together.
        progress: Is told how far it has come.

    Raises:
        InputError: A folder is not there, or holds no picture any more though the gallery has some of it (as when a
            disk is not mounted), or ``batch`` is not positive.
    """
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    found = find_pictures(folders)
    rows = _Rows(store, composer)
    gone = _gone(found, rows.known)
    rows.remove(gone)
    todo = [path for path in found.files if not (path in rows.known and state_of(rows.known[path]) == "there")]
    report = IndexReport(
        unchanged=len(found.files) - len(todo), removed=len(gone), unreadable=dict(found.problems), others=found.others
    )
    report.hidden = found.hidden
    for start in range(0, len(todo), batch):
        rows.take(todo[start : start + batch], report)
        if progress is not None:
            done = min(start + batch, len(todo))
            progress("pictures", len(found.files) - len(todo) + done, len(found.files))
    store.flush()
    report.total = len(store)
    return report


def sample_pictures(folders: Sequence[str | Path], most: int) -> list[Image.Image]:
    """Some pictures of folders, evenly spread over their sorted paths, small; the same each time.

    Args:
        folders: With the folders in them.
        most: How many; files that cannot be read are passed over.

    Raises:
        InputError: A folder is not there.
    """
    files = find_pictures(folders).files
    count = min(most, len(files))
    found = []
    for index in range(count):
        try:
            picture = open_image(files[index * len(files) // count])
        except InputError:
            continue
        picture.thumbnail((_SAMPLE, _SAMPLE))
        found.append(picture)
    return found


def _gone(found: Found, known: Iterable[str]) -> list[str]:
    """The rows of some folders whose files are no more.

    Raises:
        InputError: A folder is empty though there are rows of it.
    """
    known = list(known)
    for root in found.roots:
        rows = sum(path.startswith(inside(root)) for path in known)
        if rows and not any(path.startswith(inside(root)) for path in found.files):
            raise InputError(
                f"folder {root} holds no picture any more, but the gallery has {rows} of it: is a disk missing? If "
                "they are to be taken out, index the folder above it"
            )
    files = set(found.files)
    unseen = tuple(inside(path) for path in found.problems)  # what lies in such a folder may be there still
    return [path for path in known if found.covers(path) and path not in files and not path.startswith(unseen)]


class _Rows:
    """What a gallery holds, while it is written to.

    Attributes:
        known: Its rows by path.
        holders: By content, the path of a row that has it.
    """

    def __init__(self, store: GalleryStore, composer: Composer) -> None:
        self.store = store
        self.composer = composer
        self.known = store.rows()
        self.holders = {entry.digest: path for path, entry in self.known.items()}

    def remove(self, paths: Sequence[str]) -> None:
        """Take rows out."""
        self.store.remove(paths)
        self._forget(paths)

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            entry = self.known.pop(path)
            if self.holders.get(entry.digest) == path:
                del self.holders[entry.digest]

    def take(self, paths: Sequence[str], report: IndexReport) -> None:
        """Embed some files and write their rows; what cannot be read has none."""
        read = _read(paths, report)
        vectors = self._vectors(read, report)
        kept = [entry for entry, _ in read if entry.digest in vectors]
        if kept:
            self.store.put(kept, np.stack([vectors[entry.digest] for entry in kept]))
        before = {path: self.known[path] for path in paths if path in self.known}
        self.store.remove([path for path in before if path in report.unreadable])
        self._forget(before)
        for entry in kept:
            self.known[entry.path] = entry
            self.holders[entry.digest] = entry.path
            if entry.path not in before:
                report.added += 1
            elif before[entry.path].digest != entry.digest:
                report.changed += 1
            else:
                report.unchanged += 1

    def _vectors(self, read: Sequence[tuple[Entry, bytes]], report: IndexReport) -> dict[str, npt.NDArray[np.float32]]:
        """Unit embeddings ``(D,)`` by content: those of rows that have it, else the model's."""
        images: dict[str, Image.Image] = {}
        held: dict[str, str] = {}
        for entry, content in read:
            if entry.digest in self.holders:
                held[entry.digest] = self.holders[entry.digest]
            elif entry.digest not in images:
                try:
                    images[entry.digest] = picture = open_image(content)
                    if said := texts_of(notes_of_picture(picture)):
                        report.notes[entry.path] = "; ".join(said)
                except InputError as error:
                    report.unreadable[entry.path] = str(error)
        made, failed = _embedded(self.composer, images)
        rows = self.store.vectors(list(held.values()))
        report.unreadable |= {entry.path: failed[entry.digest] for entry, _ in read if entry.digest in failed}
        return made | {digest: rows[path] for digest, path in held.items()}


def _read(paths: Sequence[str], report: IndexReport) -> list[tuple[Entry, bytes]]:
    found: list[tuple[Entry, bytes]] = []
    for path in paths:
        try:
            found.append(read_file(path))
        except InputError as error:
            report.unreadable[path] = str(error)
    return found


def _embedded(
    composer: Composer, images: Mapping[str, Image.Image]
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, str]]:
    """Unit embeddings ``(D,)`` of pictures by their names, and why some have none."""
    if not images:
        return {}, {}
    try:
        return dict(zip(images, embed_pictures(composer, list(images.values())).numpy(), strict=True)), {}
    except InputError as error:
        if len(images) == 1:
            return {}, dict.fromkeys(images, str(error))
    made: dict[str, npt.NDArray[np.float32]] = {}
    failed: dict[str, str] = {}
    for name, image in images.items():
        one, why = _embedded(composer, {name: image})
        made |= one
        failed |= why
    return made, failed
