"""What a reader of a result should know: notes that say which samples they are about."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NoteKind = Literal[
    "empty-map", "flat-map", "whose-map", "unfamiliar-picture", "picture-values", "first-picture", "unknown-words",
    "lost-text", "cut-text", "caution", "few-hits", "stale-hits",
]  # fmt: skip
"""What a note is about; programs go by this and never by the words."""
OF_MAPS: frozenset[NoteKind] = frozenset({"empty-map", "flat-map"})
"""Kinds that say only what a map that is described or drawn says itself."""


@dataclass(frozen=True)
class Note:
    """Something that a reader of a result should know; ``str(note)`` is its text.

    Attributes:
        kind: What it is about.
        text: In words, as they are said of one sample.
        samples: The indices of the samples that it is about, ascending; None for all.
    """

    kind: NoteKind
    text: str
    samples: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.text

    def is_of(self, index: int) -> bool:
        """Say whether it is about a sample."""
        return self.samples is None or index in self.samples

    def named(self, names: Sequence[str]) -> str:
        """Give the text, after the names of the samples where it is not about all of them.

        Args:
            names: Of all samples, for example their files.
        """
        if self.samples is None:
            return self.text
        return f"{', '.join(dict.fromkeys(names[index] for index in self.samples))}: {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name, ready for JSON."""
        return {**asdict(self), "samples": None if self.samples is None else list(self.samples)}


def join_notes(notes: Iterable[Note], count: int) -> tuple[Note, ...]:
    """Make one note of those that say the same, about all of their samples.

    Args:
        notes: In the order in which they are to be read.
        count: How many samples there are; a note about each of them becomes one about all.

    Raises:
        TypeError: something else is among them.
    """
    joined: dict[tuple[str, str], Note] = {}
    for note in notes:
        if not isinstance(note, Note):
            raise TypeError(f"a note is a mmgrad_explain.Note(kind, text, samples), not {type(note).__name__}")
        key = note.kind, note.text
        before = joined.get(key, note).samples
        together = None if before is None or note.samples is None else tuple(sorted({*before, *note.samples}))
        joined[key] = replace(note, samples=None if together is None or len(together) == count else together)
    return tuple(joined.values())


def texts_of(notes: Iterable[Note]) -> list[str]:
    """Give the texts of notes, each once."""
    return list(dict.fromkeys(note.text for note in notes))
