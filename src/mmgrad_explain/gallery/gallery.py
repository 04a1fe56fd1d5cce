"""A gallery of one's own pictures: index folders, retrieve with a picture and a sentence, see a map on each hit.

    with Gallery("mine.db", create=True) as gallery:
        gallery.index(["photos/"])
        found = gallery.retrieve("query.jpg", "make it red", k=10)
        found.hits[0].path, found.hits[0].score
        gallery.explain(found).sheet().save("hits.png")

A picture is one hit wherever it lies: files of the same content are embedded once and come up as one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.devices import usable_device
from mmgrad_explain._system.redaction import redact_address
from mmgrad_explain.api import explain
from mmgrad_explain.composers.bundled import MOST_PICTURES, choose_by_pictures
from mmgrad_explain.composers.content_words import check_understood
from mmgrad_explain.composers.embedding import embed_query, identify
from mmgrad_explain.composers.load import BUNDLED, CHOICES, load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.contact_sheet import RetrievalMaps, retrieval_html
from mmgrad_explain.gallery.image_files import state_of
from mmgrad_explain.gallery.indexing import index_folders, sample_pictures
from mmgrad_explain.gallery.store import COLLECTION, INDEXES, MOST_HITS, GalleryStore, check_address, is_remote
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL import Image
    from torch import nn

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.composed_retrieval import Progress
    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.gallery.indexing import IndexReport
    from mmgrad_explain.gallery.store import Entry

_CHUNK = 16  # hits that are explained together


@dataclass(frozen=True)
class Hit:
    """A picture of the gallery that was found.

    Attributes:
        rank: From 1 on.
        path: Of its file.
        score: Cosine of the query's embedding and its own, in [-1, 1].
        digest: SHA-256 of its content.
        copies: Other files of the same content, sorted.
        state: ``"there"``, ``"changed"`` since it was indexed, or ``"gone"``.
    """

    rank: int
    path: str
    score: float
    digest: str
    copies: tuple[str, ...] = ()
    state: str = "there"


@dataclass(frozen=True)
class Retrieval:
    """What was asked and found.

    Attributes:
        image: The picture that was asked with.
        text: What should change.
        hits: Best first; of equal scores, by path.
        notes: What a reader should know.
        reference: SHA-256 of the reference's file, where it came from one.
    """

    image: Image.Image
    text: str
    hits: tuple[Hit, ...]
    notes: tuple[Note, ...] = ()
    reference: str | None = None

    def _repr_html_(self) -> str:
        return retrieval_html(self)


class Gallery:
    """Pictures and their embeddings by one model.

    Args:
        address: A path that ends in ``.db`` (Milvus Lite keeps it in a folder of that name), or the address of a Milvus
            server, ``http://host:19530``.
        model: A bundled name, a folder, a hub id, a loaded composer, or a model in memory with its ``processor``. None
            takes the model that the gallery was made with; for a new gallery the first pictures choose a bundled one.
        processor: Of a model in memory, see :func:`~mmgrad_explain.composers.load.load_composer`.
        create: Make the gallery where there is none.
        index: How a new gallery is searched, one of :data:`~mmgrad_explain.gallery.store.INDEXES`.
        collection: Name of the gallery there, so that a server can hold several.
        device: Where the model runs; where it is when None.

    Attributes:
        about: What is stored with the gallery: the model's identity
            (:class:`~mmgrad_explain.composers.embedding.ModelIdentity`), its ``source``, ``dim`` and ``index``, and
            ``model_choice``, why it was chosen where the pictures did.
        composer: The model.

    Raises:
        InputError: There is no such gallery and ``create`` is off, it was made with another model, the model cannot be
            loaded or gives no embedding of a picture alone, or Milvus cannot be reached.
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
        """Where it is, without a password."""
        self.collection = collection
        """Its name there."""
        self.about: dict[str, Any] = {}
        self._create, self._index, self._device = create, index, device
        self._composer: Composer | None = None
        self._is_open = False
        if model is not None or not create or is_remote(place) or Path(place).exists():
            self._begin(model, processor)

    def _begin(self, model: str | Path | nn.Module | None, processor: Any = None, why: str = "") -> None:
        """Open the gallery, or make it; a new one without a model waits for the pictures that choose it."""
        loaded = None if model is None else _loaded(model, self._device, processor)  # before anything is made
        if not self._is_open:
            self._store = GalleryStore(self._place, collection=self.collection, create=self._create)
            self._is_open = True
        store = self._store
        try:
            if loaded is None:
                if store.about is None:
                    return
                model = _source(store)
                loaded = _loaded(model, self._device)
            identity = asdict(identify(loaded))
            if store.about is None:
                chosen = {"source": _lasting(model), "index": self._index, "model_choice": why or None}
                store.make({**identity, **chosen})
            self.about = dict(store.about or {})
            self._check(identity)
            self._composer = loaded
        except BaseException:
            self.close()
            raise

    @property
    def composer(self) -> Composer:
        """The model.

        Raises:
            InputError: The gallery is new, and no model was named or chosen yet.
        """
        if self._composer is None:
            raise InputError(
                f"gallery {self.address} is new and empty: index folders, by whose pictures a model is chosen, or name "
                f"a model ({CHOICES})"
            )
        return self._composer

    def __len__(self) -> int:
        return len(self._store) if self.about else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the gallery; another process may open it."""
        if self._is_open:
            self._store.close()

    # ----------------------------------------------------------------------------------------------------------- index

    def index(self, folders: Sequence[str | Path], *, batch: int = 32, progress: Progress | None = None) -> IndexReport:
        """Bring the gallery up to what lies in folders: :func:`~mmgrad_explain.gallery.indexing.index_folders`.

        For a new gallery without a model, the pictures choose a bundled one
        (:func:`~mmgrad_explain.composers.bundled.choose_by_pictures`); ``about["model_choice"]`` says why.

        Raises:
            InputError: They fit no bundled model, or as ``index_folders``.
        """
        if self._composer is None:
            choice = choose_by_pictures(sample_pictures(folders, MOST_PICTURES))
            self._begin(choice.name, why=choice.why)
        return index_folders(self._store, self.composer, folders, batch=batch, progress=progress)

    # -------------------------------------------------------------------------------------------------------- retrieve

    def retrieve(self, image: Any, text: str, k: int = 10, *, keep_reference: bool = False) -> Retrieval:
        """Look for the picture that a text makes of a picture.

        Args:
            image: In any form :func:`~mmgrad_explain.images.reading.open_image` takes.
            text: What should change.
            k: How many pictures; fewer where the gallery has fewer.
            keep_reference: Also list the picture that was asked with, where it is in the gallery; it is known by its
                file's content, so that only paths and bytes are left out.

        Raises:
            InputError: The picture or the text cannot be used, or ``k`` is not from 1 to
                :data:`~mmgrad_explain.gallery.store.MOST_HITS`.
        """
        if not 1 <= k <= MOST_HITS:
            raise InputError(f"k must be from 1 to {MOST_HITS}, got {k}")
        if not text.strip():
            raise InputError('text is empty: say what should change, for example "make it red"')
        check_understood(self.composer, text, f"index the pictures with another model ({CHOICES})")
        picture, reference = open_image(image), _digest_of(image)
        vector, notices = embed_query(self.composer, picture, text)
        hits = self._search(vector.numpy(), k, None if keep_reference else reference)
        notes = list(notices)
        if len(hits) < k:
            notes.append(Note("few-hits", f"the gallery has no more than {len(hits)} pictures to list"))
        states = [hit.state for hit in hits]
        if any(state != "there" for state in states):
            stale = (
                f"of the hits, {states.count('gone')} are gone and {states.count('changed')} have changed since they "
                "were indexed: index their folders again"
            )
            notes.append(Note("stale-hits", stale))
        return Retrieval(picture, text, hits, join_notes(notes, 1), reference)

    def _search(self, vector: npt.NDArray[np.float32], k: int, without: str | None) -> tuple[Hit, ...]:
        """The best ``k`` contents; asks for more rows until what was left out cannot be among them."""
        total = min(len(self._store), MOST_HITS)
        limit = min(2 * k + 1, total)
        while limit:
            rows = sorted(self._store.search(vector, limit), key=lambda row: (-row[1], row[0].path))
            found: dict[str, list[tuple[Entry, float]]] = {}
            for row in rows:
                if row[0].digest != without:
                    found.setdefault(row[0].digest, []).append(row)
            best = list(found.values())[:k]
            if limit == total or (len(best) == k and rows[-1][1] < best[-1][0][1]):
                return tuple(_hit(rank, files) for rank, files in enumerate(best, start=1))
            limit = min(2 * limit, total)
        return ()

    def explain(
        self, found: Retrieval, *, layer: str | Sequence[str] | None = None, score: str | None = None
    ) -> RetrievalMaps:
        """Where the query's text is looked for in the query, and where in each hit.

        The query's map is of the model's own default score, and so is a hit's, on the hit: of a composer it shows where
        the hit has what the text speaks of, and not why it was found. The hits are ranked by ``"similarity"``, whose
        map shows where in the hit the match comes from; in a model that was not trained for such maps, as the bundled
        ones, it lights mostly background. Hits whose file is gone or has changed have no map.

        Args:
            found: What :meth:`retrieve` gave.
            layer: Dotted name of the layer, or several; the composer's own when None.
            score: Name of the score of the hits' maps, with the hit as the target; None takes the model's own default.

        Raises:
            InputError: As :func:`~mmgrad_explain.api.explain`.
        """
        query = explain(found.image, found.text, model=self.composer, layer=layer)
        there = [hit for hit in found.hits if hit.state == "there"]
        maps: dict[int, tuple[Explanation, int]] = {}
        for start in range(0, len(there), _CHUNK):
            some = there[start : start + _CHUNK]
            for hit, one in zip(some, self._of_hits(found, [hit.path for hit in some], layer, score), strict=True):
                maps[hit.rank] = one
        return RetrievalMaps(found, query, maps)

    def _of_hits(
        self, found: Retrieval, paths: list[str], layer: str | Sequence[str] | None, score: str | None
    ) -> list[tuple[Explanation, int]]:
        """The explanation of each hit and its place there: one batch, or one of each where their shapes differ."""
        try:
            both = explain([found.image] * len(paths), found.text, list(paths), self.composer, layer=layer, score=score)
        except InputError:
            if len(paths) == 1:
                raise
            return [one for path in paths for one in self._of_hits(found, [path], layer, score)]
        return [(both, index) for index in range(len(paths))]

    def _check(self, identity: Mapping[str, Any]) -> None:
        if all(self.about[key] == identity[key] for key in ("fingerprint", "dim")):
            return

        def named(of: Mapping[str, Any]) -> str:
            return f"{of['name']!r} ({of['fingerprint']}, {of['dim']} numbers a picture)"

        source = self.about["source"]
        raise InputError(
            f"gallery {self.address} was made with model {named(self.about)}, and this is {named(identity)}: "
            f"use that model{f' ({source})' if source else ''}, or index into another gallery"
        )


def _loaded(model: str | Path | nn.Module, device: str | None, processor: Any = None) -> Composer:
    composer = load_composer(model, processor)
    return composer if device is None else composer.to(usable_device(device))


def _source(store: GalleryStore) -> str:
    """What to load the gallery's model from.

    Raises:
        InputError: That was not stored.
    """
    about = store.about or {}
    source: str | None = about["source"]
    if source is None:
        raise InputError(
            f"gallery {store.address} was made with a model that was handed in ({about['name']!r}): hand it in "
            "again, or give the folder it is loaded from"
        )
    return source


def _lasting(model: str | Path | nn.Module | None) -> str | None:
    """What loads the model again, from whatever folder one is in."""
    if not isinstance(model, str | os.PathLike):
        return None
    text = os.fspath(model)
    if text not in BUNDLED and Path(text).expanduser().is_dir():
        return str(Path(text).expanduser().resolve())
    return text


def _hit(rank: int, files: Sequence[tuple[Entry, float]]) -> Hit:
    """One content as a hit, shown by a file of it that is there, if there is one."""
    states = {entry.path: state_of(entry) for entry, _ in files}
    shown = min(files, key=lambda row: (states[row[0].path] != "there", row[0].path))[0]
    copies = tuple(sorted(path for path in states if path != shown.path))
    return Hit(rank, shown.path, files[0][1], shown.digest, copies, states[shown.path])


def _digest_of(image: Any) -> str | None:
    if isinstance(image, str | os.PathLike):
        return hashlib.sha256(Path(image).read_bytes()).hexdigest()
    return hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else None
