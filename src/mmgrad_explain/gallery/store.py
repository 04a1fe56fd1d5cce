"""The rows of a gallery in Milvus: a local file (Milvus Lite), or a server by its address.

A row is one image file: its path, what shows whether it changed, and its unit embedding. Of a model that keeps several
vectors of an image each is a row, and the best one counts. The key is a hash of the path (and of the vector's number),
so that no file has more rows. The path itself cannot be the key, because Milvus makes filters of keys, and a quotation
mark in a file's name would break them. The model's identity is a property of the collection, written together with it.
Scores are inner products of unit vectors, that is cosines.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.redaction import redact, redact_address
from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain.errors import InputError, MMGradError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

COLLECTION = "mmgrad_gallery"
"""Name of the collection that a gallery makes in Milvus."""
INDEXES = ("flat", "hnsw")
"""How to search a gallery: ``flat`` compares with every vector, exactly; ``hnsw`` searches a graph, approximately."""
LONGEST_PATH = 4096  # bytes
MOST_HITS = 16_384
"""The most hits that Milvus gives for one query."""
_ABOUT = "mmgrad_explain.gallery"  # the property of a collection; galleries on disk have it, so it never changes
_ROW = ["path", "size", "mtime_ns", "digest"]
_CHUNK = 1000  # rows in one call
_HNSW = {"M": 16, "efConstruction": 200}
_TIMEOUT = 10.0  # seconds, to connect


@dataclass(frozen=True)
class Entry:
    """An image file as it was when it was indexed.

    Attributes:
        path: Its absolute path.
        size: Its size in bytes.
        mtime_ns: The time of its last change, in nanoseconds.
        digest: SHA-256 of its content, hexadecimal.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str


class GalleryStore:
    """The rows of one gallery.

    Args:
        address: A path that ends in ``.db``, or ``http://host:port``.
        collection: Name of the gallery at that address.
        create: Whether the gallery may be missing; :meth:`make` makes it.

    Attributes:
        address: The address without user, password or token, for messages.
        about: What is stored with the gallery; None as long as it is not made.

    Raises:
        InputError: Milvus cannot be imported or reached, the file is in use or not a gallery, there is no gallery and
            ``create`` is off, or a name cannot be used.
    """

    def __init__(self, address: str, *, collection: str = COLLECTION, create: bool = False) -> None:
        self._place = check_address(address)
        self.address = redact_address(self._place) if is_remote(address) else self._place
        self.collection = collection
        self.about: dict[str, Any] | None = None
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", collection):
            raise InputError(f"collection {collection!r}: use letters, digits and _, not beginning with a digit")
        if not create and not is_remote(address) and not Path(address).exists():
            raise InputError(self._missing_message())
        self._client: Any = None
        with self._errors_as_input():
            self._client = _connect(self._place)
        try:
            with self._errors_as_input():
                self._open(create)
        except BaseException:
            self.close()
            raise

    def _open(self, create: bool) -> None:  # noqa: FBT001
        if self.collection in self._client.list_collections():
            self._load()
        elif not create:
            raise InputError(self._missing_message())

    def _load(self) -> None:
        stored = self._client.describe_collection(self.collection).get("properties", {}).get(_ABOUT)
        if stored is None:
            raise InputError(
                f"collection {self.collection!r} in {self.address} is no gallery of this package: choose another name"
            )
        about: dict[str, Any] = json.loads(stored)
        if not self._client.list_indexes(self.collection):  # stopped while it was made
            self._client.create_index(self.collection, self._index(about))
        self._client.load_collection(self.collection)
        self.about = about

    def make(self, about: dict[str, Any]) -> None:
        """Make the gallery.

        Args:
            about: What to store with it, ready for JSON; with ``dim``, the length of the vectors, ``index``, one of
                :data:`INDEXES`, and ``vectors``, how many an image has (1 if it is left out).
        """
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("path", DataType.VARCHAR, max_length=LONGEST_PATH)
        schema.add_field("size", DataType.INT64)
        schema.add_field("mtime_ns", DataType.INT64)
        schema.add_field("digest", DataType.VARCHAR, max_length=64)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=about["dim"])
        with self._errors_as_input():
            self._client.create_collection(
                self.collection, schema=schema, index_params=self._index(about), consistency_level="Strong",
                properties={_ABOUT: json.dumps(about)},
            )  # fmt: skip
            self._load()

    def _index(self, about: dict[str, Any]) -> Any:
        params = self._client.prepare_index_params()
        kind = about["index"]
        params.add_index("embedding", index_type=kind.upper(), metric_type="IP", params=_HNSW if kind == "hnsw" else {})
        return params

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._errors_as_input():
            found = self._client.query(self.collection, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"]) // self.vectors_of_an_image

    @property
    def vectors_of_an_image(self) -> int:
        """How many vectors an image has."""
        return int((self.about or {}).get("vectors", 1))

    def rows(self) -> dict[str, Entry]:
        """Read every row, by its path."""
        found: dict[str, Entry] = {}
        with self._errors_as_input():
            pages = self._client.query_iterator(self.collection, batch_size=8192, output_fields=_ROW)
            while page := pages.next():
                found |= {row["path"]: _entry(row) for row in page}
            pages.close()
        return found

    def put(self, entries: Sequence[Entry], vectors: npt.NDArray[np.float32]) -> None:
        """Write rows; they replace those with the same paths.

        Args:
            entries: The image files.
            vectors: Their embeddings ``(N, D)``, of unit length; ``(N, Q, D)`` of a model with several of an image.
        """
        count = self.vectors_of_an_image
        rows = [
            {"id": key, **vars(entry), "embedding": vector}
            for entry, own in zip(entries, vectors.reshape(len(entries), count, -1), strict=True)
            for key, vector in zip(_keys(entry.path, count), own, strict=True)
        ]
        chunk = max(1, _CHUNK // count) * count  # no image is written in part
        with self._errors_as_input():
            for start in range(0, len(rows), chunk):
                self._client.upsert(self.collection, rows[start : start + chunk])

    def remove(self, paths: Iterable[str]) -> None:
        """Remove rows."""
        every = [key for path in paths for key in _keys(path, self.vectors_of_an_image)]
        with self._errors_as_input():
            for start in range(0, len(every), _CHUNK):
                self._client.delete(self.collection, ids=every[start : start + _CHUNK])

    def vectors(self, paths: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Read the embeddings ``(D,)``, or several ``(Q, D)``, of images, by their paths."""
        import numpy as np

        if not paths:
            return {}
        keys = {path: _keys(path, self.vectors_of_an_image) for path in paths}
        every = [key for own in keys.values() for key in own]
        found: dict[str, npt.NDArray[np.float32]] = {}
        with self._errors_as_input():
            for start in range(0, len(every), _CHUNK):
                rows = self._client.get(
                    self.collection, ids=every[start : start + _CHUNK], output_fields=["id", "embedding"]
                )
                found |= {row["id"]: np.asarray(row["embedding"], np.float32) for row in rows}
        there = {path: own for path, own in keys.items() if all(key in found for key in own)}
        return {
            path: found[own[0]] if len(own) == 1 else np.stack([found[key] for key in own])
            for path, own in there.items()
        }

    def search(self, vector: npt.NDArray[np.float32], limit: int) -> list[tuple[Entry, float]]:
        """Find the images nearest to a unit vector, best first, with their cosines in [-1, 1].

        Args:
            vector: The query's embedding ``(D,)``.
            limit: How many at most, from 1 to :data:`MOST_HITS` divided by the number of vectors of an image.
        """
        limit *= self.vectors_of_an_image  # as many rows hold at least that many images, and the best ones
        params = {"ef": max(128, 2 * limit)} if self.about and self.about["index"] == "hnsw" else {}
        with self._errors_as_input():
            found = self._client.search(
                self.collection, [vector], limit=limit, output_fields=_ROW, search_params={"params": params}
            )
        best: dict[str, tuple[Entry, float]] = {}
        for row in found[0]:
            best.setdefault(row["entity"]["path"], (_entry(row["entity"]), float(row["distance"])))
        return list(best.values())[: limit // self.vectors_of_an_image]

    def flush(self) -> None:
        """Write everything to the disk."""
        with self._errors_as_input():
            self._client.flush(self.collection)

    def drop(self) -> None:
        """Delete the gallery with all its rows. The image files stay."""
        with self._errors_as_input():
            self._client.drop_collection(self.collection)
        self.about = None

    def close(self) -> None:
        """Close the gallery, so that another process can open the file."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            _release(self._place)

    def _missing_message(self) -> str:
        named = "" if self.collection == COLLECTION else f" --collection {self.collection}"
        place = f"{self.address}{named}"
        return f"there is no gallery at {place}: make it first, mmgrad-explain index FOLDER --gallery {place}"

    @contextmanager
    def _errors_as_input(self) -> Iterator[None]:
        """Raise Milvus's errors as InputError in one line; Milvus itself prints nothing."""
        try:
            import pymilvus  # noqa: F401
        except ImportError as error:
            message = f"a gallery is kept by Milvus, which cannot be imported ({error})"
            raise InputError(f'{message}: pip install "mmgrad-explain[gallery]"') from error
        with _quiet() as logged:
            try:
                yield
            except MMGradError:
                raise
            except Exception as error:  # noqa: BLE001  (not of Milvus alone, where an address is odd)
                cause = logged.error or error
                secret = self.address != self._place  # a traceback of the cause would show it
                raise InputError(_reason(self._place, cause)) from (None if secret else cause)


def check_address(address: str) -> str:
    """Check an address; a local path becomes absolute.

    Raises:
        InputError: It is neither a ``.db`` path in an existing folder, nor the address of a server.
    """
    if is_remote(address):
        return address
    if not address.endswith(".db"):
        raise InputError(
            f"gallery {redact_address(address)!r} must be a path that ends in .db, or an address such as http://host:19530"
        )
    path = Path(address)
    if path.exists() and not path.is_dir():
        raise InputError(f"{address} is no gallery: Milvus Lite keeps one in a folder of that name; choose another")
    if not path.absolute().parent.is_dir():
        raise InputError(f"gallery {address}: the folder {path.parent} is not there; make it first")
    return str(path.absolute())


def is_remote(address: str) -> bool:
    """Return whether it is the address of a server."""
    return address.startswith(("http://", "https://", "tcp://", "unix:"))


class _LastError(logging.Handler):
    """Keeps the last error that was logged, and prints nothing."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


@contextmanager
def _quiet() -> Iterator[_LastError]:
    """Silence Milvus, which also logs what it raises, with a traceback; Milvus Lite logs instead of raising."""
    logged = _LastError()
    lite, client = logging.getLogger("milvus_lite"), logging.getLogger("pymilvus")
    before = lite.propagate, client.level
    lite.addHandler(logged)
    lite.propagate = False
    client.setLevel(logging.CRITICAL)
    try:
        yield logged
    finally:
        lite.removeHandler(logged)
        lite.propagate = before[0]
        client.setLevel(before[1])


_LOCK = threading.Lock()
_OPEN: Counter[str] = Counter()
"""How often this process has each local file open; all share one Milvus Lite."""


def _connect(address: str) -> Any:
    from pymilvus import MilvusClient

    with _LOCK:
        client = MilvusClient(address, timeout=_TIMEOUT)
        _OPEN[address] += not is_remote(address)
    return client


def _release(address: str) -> None:
    if is_remote(address):
        return
    from milvus_lite.server_manager import server_manager_instance

    with _LOCK:
        _OPEN[address] -= 1
        if not _OPEN[address]:
            server_manager_instance.release_server(address)


def _keys(path: str, count: int) -> list[str]:
    """Make the key of each of an image's vectors."""
    names = [path] if count == 1 else [f"{path}\0{number}" for number in range(count)]
    return [hashlib.sha256(name.encode()).hexdigest() for name in names]


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(row["path"], int(row["size"]), int(row["mtime_ns"]), row["digest"])


def _reason(address: str, error: BaseException) -> str:
    if type(error).__name__ == "DataDirLockedError":
        return (
            f"{address} is in use by another process, and a local file serves one at a time: wait until it is done, or "
            "share a gallery through a Milvus server (--gallery http://host:19530)"
        )
    reason = redact(reason_of(error), address)
    if is_remote(address):
        place = redact_address(address)
        return (
            f"Milvus at {place} does not answer as it should: {reason}; is the address right, and the server running?"
        )
    return f"the gallery {address} cannot be used: {reason}"
