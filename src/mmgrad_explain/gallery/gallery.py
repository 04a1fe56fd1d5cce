"""A gallery of your own images: index folders, search with an image and a text, see a map on each hit.

    with Gallery("mine.db", create=True) as gallery:
        gallery.index(["photos/"])
        found = gallery.retrieve("query.jpg", "make it red", k=10)
        found.hits[0].path, found.hits[0].score
        gallery.explain(found).sheet().save("hits.png")

Files with the same content are embedded once and are one hit.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.devices import check_device
from mmgrad_explain._system.redaction import redact_address
from mmgrad_explain.api import explain
from mmgrad_explain.composers.bundled import MOST_IMAGES, choose_by_images
from mmgrad_explain.composers.content_words import check_understood
from mmgrad_explain.composers.embedding import embed_query, identify
from mmgrad_explain.composers.load import BUNDLED, CHOICES, load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.image_files import find_images, state_of
from mmgrad_explain.gallery.indexing import index_images, sample_images
from mmgrad_explain.gallery.results import Hit, Retrieval, RetrievalMaps
from mmgrad_explain.gallery.store import COLLECTION, INDEXES, MOST_HITS, GalleryStore, check_address, is_remote
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.composed_retrieval import EmbeddingProgress
    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.gallery.indexing import IndexReport
    from mmgrad_explain.gallery.store import Entry

_CHUNK = 16  # hits that are explained together, unless the model keeps the shapes of images


class Gallery:
    """Images and their embeddings by one composer.

    Args:
        address: A path that ends in ``.db`` (Milvus Lite makes a folder of that name), or the address of a Milvus
            server, ``http://host:19530``.
        model: A bundled name, a folder, a hub id, a loaded composer, or a model in memory with its ``processor``. None
            takes the model that the gallery was made with; for a new gallery the first images choose a bundled one.
        processor: The processor of a model in memory, see :func:`~mmgrad_explain.composers.load.load_composer`.
        create: Make the gallery if there is none.
        index: How a new gallery is searched, one of :data:`~mmgrad_explain.gallery.store.INDEXES`.
        collection: Name of the gallery at that address, so that a server can hold several.
        device: Device that the composer runs on; None leaves it where it is.

    Attributes:
        about: What is stored with the gallery: the composer's identity
            (:class:`~mmgrad_explain.composers.embedding.ModelIdentity`), its ``source``, ``dim`` and ``index``, and
            ``model_choice``, the reason if the images chose it.
        composer: The composer.

    Raises:
        InputError: There is no such gallery and ``create`` is off, it was made with another model, the model cannot be
            loaded or cannot embed an image alone, or Milvus cannot be reached.
    """

    def __init__(
        self,
        address: str | Path,
        model: str | Path | nn.Module | None = None,
        *,
        processor: Any = None,
        create: bool = False,
        index: str = "flat",
        collection: str = COLLECTION,
        device: str | None = None,
    ) -> None:
        if index not in INDEXES:
            raise InputError(f"index {index!r}: there are {' and '.join(INDEXES)}")
        place = self._place = check_address(os.fspath(address))
        self.address = redact_address(place) if is_remote(place) else place
        """Address of the gallery, without a password."""
        self.collection = collection
        """Name of the gallery at that address."""
        self.about: dict[str, Any] = {}
        self._create, self._index, self._device = create, index, device
        self._composer: Composer | None = None
        self._is_open = False
        if model is not None or not create or is_remote(place) or Path(place).exists():
            self._open_or_make(model, processor)

    def _open_or_make(self, model: str | Path | nn.Module | None, processor: Any = None, why: str = "") -> None:
        """Open the gallery, or make it; a new one without a model waits for the images that choose it."""
        # Before the store is made: a model that cannot be used leaves no empty gallery behind.
        loaded = None if model is None else _load(model, self._device, processor)
        identity = None if loaded is None else asdict(identify(loaded))
        if not self._is_open:
            self._store = GalleryStore(self._place, collection=self.collection, create=self._create)
            self._is_open = True
        store = self._store
        try:
            if loaded is None or identity is None:
                if store.about is None:
                    return
                model = _stored_source(store)
                loaded = _load(model, self._device)
                identity = asdict(identify(loaded))
            if store.about is None:
                chosen = {"source": _reloadable_source(model), "index": self._index, "model_choice": why or None}
                store.make({**identity, **chosen})
            self.about = dict(store.about or {})
            self._check(identity)
            self._composer = loaded
        except BaseException:
            self.close()
            raise

    @property
    def composer(self) -> Composer:
        """The composer.

        Raises:
            InputError: The gallery is new, and no model was named or chosen yet.
        """
        if self._composer is None:
            raise InputError(
                f"gallery {self.address} is new and empty: index folders, whose images choose a model, or name a model "
                f"({CHOICES})"
            )
        return self._composer

    def __len__(self) -> int:
        return len(self._store) if self.about else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the gallery, so that another process can open it."""
        if self._is_open:
            self._store.close()

    # ----------------------------------------------------------------------------------------------------------- index

    def index(
        self, folders: Sequence[str | Path], *, batch: int = 32, progress: EmbeddingProgress | None = None
    ) -> IndexReport:
        """Make the rows agree with the images of folders: :func:`~mmgrad_explain.gallery.indexing.index_images`.

        For a new gallery without a model, the images choose a bundled one
        (:func:`~mmgrad_explain.composers.bundled.choose_by_images`); ``about["model_choice"]`` holds the reason.

        Args:
            folders: Folders of images, with the folders in them.
            batch: Images that go through the composer together.
            progress: Called after each batch.

        Raises:
            InputError: The images fit no bundled model, or as ``find_images`` and ``index_images``.
        """
        found = find_images(folders)
        if self._composer is None:
            choice = choose_by_images(sample_images(found, MOST_IMAGES))
            self._open_or_make(choice.name, why=choice.why)
        return index_images(self._store, self.composer, found, batch=batch, progress=progress)

    # -------------------------------------------------------------------------------------------------------- retrieve

    def retrieve(self, image: Any, text: str, k: int = 10, *, keep_reference: bool = False) -> Retrieval:
        """Search for what a text makes of an image.

        Args:
            image: The reference image, in any form :func:`~mmgrad_explain.images.reading.open_image` takes.
            text: What should change.
            k: How many images to find; a small gallery gives fewer.
            keep_reference: Whether to list the reference itself if it is in the gallery. It is recognised by its file's
                content, so that only a path or bytes can be left out.

        Returns:
            The hits, best first; :meth:`explain` draws their maps.

        Raises:
            InputError: The image or the text cannot be used, or ``k`` is not from 1 to
                :data:`~mmgrad_explain.gallery.store.MOST_HITS`.
        """
        most = MOST_HITS // int(self.about.get("vectors", 1))
        if not 1 <= k <= most:
            raise InputError(f"k must be from 1 to {most}, got {k}")
        if not text.strip():
            raise InputError('text is empty: say what should change, for example "make it red"')
        check_understood(self.composer, text, f"index the images with another model ({CHOICES})")
        opened, reference = open_image(image), _digest_of(image)
        vector, notices = embed_query(self.composer, opened, text)
        hits = self._search(vector.numpy(), k, None if keep_reference else reference)
        notes = list(notices)
        if len(hits) < k:
            notes.append(Note("few-hits", f"the gallery has no more than {len(hits)} images to list"))
        states = [hit.state for hit in hits]
        if any(state != "there" for state in states):
            stale = (
                f"of the hits, {states.count('gone')} are gone and {states.count('changed')} have changed since they "
                "were indexed: index their folders again"
            )
            notes.append(Note("stale-hits", stale))
        return Retrieval(opened, text, hits, join_notes(notes, 1), reference)

    def _search(self, vector: npt.NDArray[np.float32], k: int, without: str | None) -> tuple[Hit, ...]:
        """Find the best ``k`` contents; reads more rows until no other content can be among them."""
        total = min(len(self._store), MOST_HITS // int(self.about.get("vectors", 1)))
        limit = min(2 * k + 1, total)
        while limit:
            rows = sorted(self._store.search(vector, limit), key=lambda row: (-row[1], row[0].path))
            found: dict[str, list[tuple[Entry, float]]] = {}
            for row in rows:
                if row[0].digest != without:
                    found.setdefault(row[0].digest, []).append(row)
            best = list(found.values())[:k]
            if limit == total or (len(best) == k and rows[-1][1] < best[-1][0][1]):
                return tuple(_make_hit(rank, files) for rank, files in enumerate(best, start=1))
            limit = min(2 * limit, total)
        return ()

    def explain(
        self, found: Retrieval, *, layer: str | Sequence[str] | None = None, score: str | None = None
    ) -> RetrievalMaps:
        """Draw a map on the query and on each hit.

        All maps are of the composer's default score. A hit's map shows where the hit has what the text asks for, not
        why it was found: the hits are ranked by ``"similarity"``. The map of that score shows where in the hit the
        match comes from; with a composer that was not trained for such maps, such as the bundled ones, it is bright
        mostly on the background. Hits with a file that is gone or has changed have no map.

        Args:
            found: The result of :meth:`retrieve`.
            layer: Dotted name of the layer, or several; the composer's default when None.
            score: Name of the score of the hits' maps, with the hit as the target; the composer's default when None.

        Raises:
            InputError: As :func:`~mmgrad_explain.api.explain`.
        """
        query = explain(found.image, found.text, model=self.composer, layer=layer)
        there = [hit for hit in found.hits if hit.state == "there"]
        maps: dict[int, tuple[Explanation, int]] = {}
        together = 1 if capabilities(self.composer).keeps_shapes else _CHUNK
        for start in range(0, len(there), together):
            chunk = there[start : start + together]
            references, targets = [found.image] * len(chunk), [hit.path for hit in chunk]
            explanation = explain(references, found.text, targets, self.composer, layer=layer, score=score)
            maps |= {hit.rank: (explanation, index) for index, hit in enumerate(chunk)}
        return RetrievalMaps(found, query, maps)

    def _check(self, identity: Mapping[str, Any]) -> None:
        if all(self.about[key] == identity[key] for key in ("fingerprint", "dim")):
            return

        def named(of: Mapping[str, Any]) -> str:
            return f"{of['name']!r} ({of['fingerprint']}, {of['dim']} numbers an image)"

        source = self.about["source"]
        raise InputError(
            f"gallery {self.address} was made with model {named(self.about)}, and this is {named(identity)}: "
            f"use that model{f' ({source})' if source else ''}, or index into another gallery"
        )


def _load(model: str | Path | nn.Module, device: str | None, processor: Any = None) -> Composer:
    composer = load_composer(model, processor)
    return composer if device is None else composer.to(check_device(device))


def _stored_source(store: GalleryStore) -> str:
    """Look up what to load the gallery's model from.

    Raises:
        InputError: It was not stored.
    """
    about = store.about or {}
    source: str | None = about["source"]
    if source is None:
        raise InputError(
            f"gallery {store.address} was made with a model in memory ({about['name']!r}): pass it again, or "
            "give the folder it is loaded from"
        )
    return source


def _reloadable_source(model: str | Path | nn.Module | None) -> str | None:
    """Return the name or the absolute path that loads the model again; None for a model in memory."""
    if not isinstance(model, str | os.PathLike):
        return None
    text = os.fspath(model)
    if text not in BUNDLED and Path(text).expanduser().is_dir():
        return str(Path(text).expanduser().resolve())
    return text


def _make_hit(rank: int, files: Sequence[tuple[Entry, float]]) -> Hit:
    """Make a hit of the files with one content, shown by a file that still exists, if there is one."""
    states = {entry.path: state_of(entry) for entry, _ in files}
    shown = min(files, key=lambda row: (states[row[0].path] != "there", row[0].path))[0]
    copies = tuple(sorted(path for path in states if path != shown.path))
    return Hit(rank, shown.path, files[0][1], shown.digest, copies, states[shown.path])


def _digest_of(image: Any) -> str | None:
    if isinstance(image, str | os.PathLike):
        return hashlib.sha256(Path(image).read_bytes()).hexdigest()
    return hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else None
