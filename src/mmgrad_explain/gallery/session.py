"""A search in several turns, kept in a JSON file: a hit becomes the next reference."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.redaction import HIDDEN, redact_address
from mmgrad_explain._system.user_files import parse_json, quote, read_text, reading
from mmgrad_explain.errors import InputError

_FORMAT = "mmgrad_explain.session/1"


@dataclass(frozen=True)
class SessionHit:
    """A hit as a session keeps it.

    Attributes:
        rank: From 1 on.
        path: Path of its file.
        score: Cosine of the query's embedding and the image's, in [-1, 1].
        digest: SHA-256 of its content.
    """

    rank: int
    path: str
    score: float
    digest: str


@dataclass(frozen=True)
class SessionTurn:
    """One query of a session, with its hits.

    Attributes:
        reference: Path of the reference image.
        text: What should change.
        hits: Its hits, best first.
        from_hit: Rank of the reference among the hits of the turn before; None if it was not one of them.
    """

    reference: str
    text: str
    hits: tuple[SessionHit, ...]
    from_hit: int | None = None


@dataclass
class Session:
    """The turns of a search in one gallery.

    Attributes:
        gallery: Address of the gallery, without user, password or token: no file keeps these.
        collection: Name of the gallery at that address.
        fingerprint: Fingerprint of its model.
        turns: The queries with their hits, in order.
    """

    gallery: str
    collection: str
    fingerprint: str
    turns: list[SessionTurn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gallery = redact_address(self.gallery) if "://" in self.gallery else self.gallery

    @classmethod
    def load(cls, path: str | Path) -> Session:
        """Read a session that :meth:`save` wrote.

        Raises:
            InputError: There is no such file, or it is not a session.
        """
        path = Path(path)
        try:
            data: Any = parse_json(read_text(path), f"session {path} cannot be read")
        except FileNotFoundError:
            raise InputError(
                f"there is no session {path}: begin one with an image, retrieve IMAGE TEXT --session {path}"
            ) from None
        with reading(f"{path} is no session of this package: name another file"):
            turns = [
                SessionTurn(
                    turn["reference"],
                    turn["text"],
                    tuple(SessionHit(**hit) for hit in turn["hits"]),
                    turn["from_hit"],
                )
                for turn in data["turns"]
            ]
            session = cls(data["gallery"], data["collection"], data["fingerprint"], turns)
            _check_types(session)
        if data.get("format") != _FORMAT:
            raise InputError(f"session {path} is of another version of this package: name another file")
        return session

    def save(self, path: str | Path) -> None:
        """Write the session, whole or not at all; a file with that name is replaced.

        Raises:
            InputError: It cannot be written.
        """
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)
        with atomic_file(Path(path), overwrite=True) as stream:
            stream.write(text.encode() + b"\n")

    def hit(self, rank: int) -> SessionHit:
        """Look up a hit of the last turn, to use it as the next reference.

        Raises:
            InputError: There is no such hit.
        """
        hits = self.turns[-1].hits if self.turns else ()
        for hit in hits:
            if hit.rank == rank:
                return hit
        raise InputError(f"there is no hit {rank}: the last turn found {len(hits)}")

    def place(self) -> str:
        """Return the gallery's address, to open it again.

        Raises:
            InputError: Its address has a password or a token.
        """
        if HIDDEN in self.gallery:
            raise InputError(f"a session keeps no password: give the address, --gallery {self.gallery}")
        return self.gallery

    def check(self, gallery: str, collection: str, fingerprint: str) -> None:
        """Check that a gallery is the session's.

        Raises:
            InputError: It is another gallery, or has another model.
        """
        if (self.gallery, self.collection, self.fingerprint) != (gallery, collection, fingerprint):
            raise InputError(
                f"the session is of gallery {self.gallery}, {self.collection}, by model {self.fingerprint}, not of "
                f"{gallery}, {collection}, by model {fingerprint}: name another session"
            )

    def check_unchanged(self, rank: int, digest: str | None) -> None:
        """Check that a hit's file still has the content that was found.

        Args:
            rank: Rank of the hit in the last turn.
            digest: SHA-256 of the file's content now.

        Raises:
            InputError: It has another content.
        """
        hit = self.hit(rank)
        if hit.digest != digest:
            raise InputError(f"hit {rank}, {hit.path}, has changed since it was found: index again, and retrieve again")


def _check_types(session: Session) -> None:
    """Raise TypeError where a value does not have its field's type."""
    kinds = {"str": str, "int": int, "float": int | float, "int | None": int | None}
    parts: tuple[Any, ...] = (session, *session.turns, *(hit for turn in session.turns for hit in turn.hits))
    for part in parts:
        for item in fields(part):
            kind = kinds.get(str(item.type))
            if kind is not None and not isinstance(getattr(part, item.name), kind):
                raise TypeError(f"{item.name} is {quote(getattr(part, item.name))}")
