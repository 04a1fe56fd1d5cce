"""Indexing: the images of folders become rows of a gallery, batch by batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.composers.embedding import embed_images
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.image_files import path_prefix, read_file, state_of
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.reading_notes import notes_of_image
from mmgrad_explain.notes import Note, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    from PIL import Image

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.composed_retrieval import EmbeddingProgress
    from mmgrad_explain.gallery.image_files import FoundImages
    from mmgrad_explain.gallery.store import Entry, GalleryStore

_SAMPLE = 512  # pixels


@dataclass
class IndexReport:
    """The result of indexing; every file of the folders is counted once.

    Attributes:
        added: Number of new files.
        changed: Number of files with a new content.
        unchanged: Number of files that were in the gallery already.
        removed: Number of rows that were removed because their file is gone.
        unreadable: Files that are not images or cannot be read, by path, with the reason; they are not in the gallery.
        others: Number of files with names that are not those of images.
        hidden: Number of files and folders with names that begin with a dot; they are left out, with all they hold.
        notes: What should be known about an image that was embedded now, by its path; for example that it is the first
            of a stack.
        total: Number of rows in the gallery now.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    others: int = 0
    hidden: int = 0
    notes: dict[str, tuple[Note, ...]] = field(default_factory=dict)
    total: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON; the notes on an image as one text."""
        return {**asdict(self), "notes": {path: "; ".join(texts_of(notes)) for path, notes in self.notes.items()}}


def index_images(
    store: GalleryStore,
    composer: Composer,
    found: FoundImages,
    *,
    batch: int = 32,
    progress: EmbeddingProgress | None = None,
) -> IndexReport:
    """Make a gallery's rows agree with the image files of some folders; rows of other folders stay.

    Each batch is complete when it is written: indexing can be stopped at any time, and the same call continues it.
    Files with the same size and time as before are not read.

    Args:
        store: The gallery's rows.
        composer: The gallery's composer.
        found: The image files of the folders, from :func:`~mmgrad_explain.gallery.image_files.find_images`.
        batch: Images that go through the composer together.
        progress: Called after each batch.

    Raises:
        InputError: A folder holds no image although the gallery has some of it (as when a disk is not mounted), or
            ``batch`` is not positive.
    """
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    rows = _Rows(store, composer)
    gone = _find_gone(found, rows.known)
    rows.remove(gone)
    pending = [path for path in found.files if not (path in rows.known and state_of(rows.known[path]) == "there")]
    report = IndexReport(
        unchanged=len(found.files) - len(pending),
        removed=len(gone),
        unreadable=dict(found.problems),
        others=found.others,
        hidden=found.hidden,
    )
    for start in range(0, len(pending), batch):
        rows.add(pending[start : start + batch], report)
        if progress is not None:
            done = min(start + batch, len(pending))
            progress("images", len(found.files) - len(pending) + done, len(found.files))
    store.flush()
    report.total = len(store)
    return report


def sample_images(found: FoundImages, most: int) -> list[Image.Image]:
    """Read some image files, evenly spread over their sorted paths, and shrink them; the same ones each time.

    Args:
        found: The image files.
        most: How many at most; files that cannot be read are skipped.
    """
    files = found.files
    count = min(most, len(files))
    images = []
    for index in range(count):
        try:
            image = open_image(files[index * len(files) // count])
        except InputError:
            continue
        image.thumbnail((_SAMPLE, _SAMPLE))
        images.append(image)
    return images


def _find_gone(found: FoundImages, known: Iterable[str]) -> list[str]:
    """Find the rows of some folders that have lost their file.

    Raises:
        InputError: A folder is empty although there are rows of it.
    """
    known = list(known)
    for root in found.roots:
        rows = sum(path.startswith(path_prefix(root)) for path in known)
        if rows and not any(path.startswith(path_prefix(root)) for path in found.files):
            raise InputError(
                f"folder {root} holds no image any more, but the gallery has {rows} of it: is a disk missing? To "
                "remove them from the gallery, index the folder above it"
            )
    files = set(found.files)
    unseen = tuple(path_prefix(path) for path in found.problems)  # files in such a folder may still exist
    return [path for path in known if found.covers(path) and path not in files and not path.startswith(unseen)]


class _Rows:
    """The rows of a gallery while it is indexed.

    Attributes:
        known: Its rows by path.
        holders: For each content, the path of a row that has it.
    """

    def __init__(self, store: GalleryStore, composer: Composer) -> None:
        self.store = store
        self.composer = composer
        self.known = store.rows()
        self.holders = {entry.digest: path for path, entry in self.known.items()}

    def remove(self, paths: Sequence[str]) -> None:
        """Remove rows."""
        self.store.remove(paths)
        self._forget(paths)

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            entry = self.known.pop(path)
            if self.holders.get(entry.digest) == path:
                del self.holders[entry.digest]

    def add(self, paths: Sequence[str], report: IndexReport) -> None:
        """Embed some files and write their rows; files that cannot be read get none."""
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
        """Return unit embeddings ``(D,)`` by content: from a row that has it, else from the composer."""
        images: dict[str, Image.Image] = {}
        held: dict[str, str] = {}
        for entry, content in read:
            if entry.digest in self.holders:
                held[entry.digest] = self.holders[entry.digest]
            elif entry.digest not in images:
                try:
                    images[entry.digest] = image = open_image(content)
                    if notes := notes_of_image(image):
                        report.notes[entry.path] = tuple(notes)
                except InputError as error:
                    report.unreadable[entry.path] = str(error)
        made, failed = _embed(self.composer, images)
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


def _embed(
    composer: Composer, images: Mapping[str, Image.Image]
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, str]]:
    """Return unit embeddings ``(D,)`` of images by their names, and the reasons why some have none."""
    if not images:
        return {}, {}
    try:
        return dict(zip(images, embed_images(composer, list(images.values())).numpy(), strict=True)), {}
    except InputError as error:
        if len(images) == 1:
            return {}, dict.fromkeys(images, str(error))
    made: dict[str, npt.NDArray[np.float32]] = {}
    failed: dict[str, str] = {}
    for name, image in images.items():
        vectors, reasons = _embed(composer, {name: image})
        made |= vectors
        failed |= reasons
    return made, failed
