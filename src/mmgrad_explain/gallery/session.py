"""A search that goes on: what was asked and found, turn by turn, in a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.reading import parse_json, read_text, reading, shown
from mmgrad_explain._system.redaction import HIDDEN, redact_address
from mmgrad_explain.errors import InputError

_FORMAT = "mmgrad_explain.session/1"


@dataclass(frozen=True)
class FoundPicture:
    """A hit as a session remembers it.

    Attributes:
        rank: From 1 on.
        path: Of its file.
        score: Its cosine.
        digest: SHA-256 of its content.
    """

    rank: int
    path: str
    score: float
    digest: str


@dataclass(frozen=True)
class Turn:
    """One question.

    Attributes:
        reference: The picture that was asked with, as a path.
        text: What should change.
        hits: What was found.
        from_hit: The rank, in the turn before, of the hit that the reference is; None of a picture of one's own.
    """

    reference: str
    text: str
    hits: tuple[FoundPicture, ...]
    from_hit: int | None = None


@dataclass
class Session:
    """The turns of a search in one gallery.

    Attributes:
        gallery: Its address, without user, password or token, which no file keeps.
        collection: Its name there.
        fingerprint: Of its model.
        turns: What was asked and found, in order.
    """

    gallery: str
    collection: str
    fingerprint: str
    turns: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gallery = redact_address(self.gallery) if "://" in self.gallery else self.gallery

    @classmethod
    def load(cls, path: str | Path) -> Session:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: There is no such file, or it is no session.
        """
        path = Path(path)
        try:
            data: Any = parse_json(read_text(path), f"session {path} cannot be read")
        except FileNotFoundError:
            raise InputError(
                f"there is no session {path}: begin one with a picture, retrieve IMAGE TEXT --session {path}"
            ) from None
        with reading(f"{path} is no session of this package: name another file"):
            turns = [
                Turn(one["reference"], one["text"], tuple(FoundPicture(**hit) for hit in one["hits"]), one["from_hit"])
                for one in data["turns"]
            ]
            session = cls(data["gallery"], data["collection"], data["fingerprint"], turns)
            _check(session)
        if data.get("format") != _FORMAT:
            raise InputError(f"session {path} is of another version of this package: name another file")
        return session

    def save(self, path: str | Path) -> None:
        """Write everything, all or nothing, in the place of what was there.

        Raises:
            InputError: It cannot be written.
        """
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)
        with atomic_file(Path(path), overwrite=True) as stream:
            stream.write(text.encode() + b"\n")

    def hit(self, rank: int) -> FoundPicture:
        """A hit of the last turn, to be the next reference.

        Raises:
            InputError: There is no such hit.
        """
        hits = self.turns[-1].hits if self.turns else ()
        for hit in hits:
            if hit.rank == rank:
                return hit
        raise InputError(f"there is no hit {rank}: the last turn found {len(hits)}")

    def place(self) -> str:
        """Where the gallery is, to open it again.

        Raises:
            InputError: Its address has a password or a token.
        """
        if HIDDEN in self.gallery:
            raise InputError(f"a session keeps no password: say where the gallery is, --gallery {self.gallery}")
        return self.gallery

    def check(self, gallery: str, collection: str, fingerprint: str) -> None:
        """Find out whether a gallery is the one that the session is of.

        Raises:
            InputError: It is another, or its model is.
        """
        if (self.gallery, self.collection, self.fingerprint) != (gallery, collection, fingerprint):
            raise InputError(
                f"the session is of gallery {self.gallery}, {self.collection}, by model {self.fingerprint}, not of "
                f"{gallery}, {collection}, by model {fingerprint}: name another session"
            )

    def check_unchanged(self, rank: int, digest: str | None) -> None:
        """Find out whether a hit's file still holds what was found.

        Args:
            rank: The hit, of the last turn.
            digest: SHA-256 of what is there now.

        Raises:
            InputError: It does not.
        """
        hit = self.hit(rank)
        if hit.digest != digest:
            raise InputError(f"hit {rank}, {hit.path}, has changed since it was found: index again, and retrieve again")


def _check(session: Session) -> None:
    """Raise TypeError where a value is of another kind than its field says."""
    kinds = {"str": str, "int": int, "float": int | float, "int | None": int | None}
    parts: tuple[Any, ...] = (session, *session.turns, *(hit for turn in session.turns for hit in turn.hits))
    for part in parts:
        for one in fields(part):
            kind = kinds.get(str(one.type))
            if kind is not None and not isinstance(getattr(part, one.name), kind):
                raise TypeError(f"{one.name} is {shown(getattr(part, one.name))}")
