"""Notes: what a reader of a result should know, and about which samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NoteKind = Literal[
    "empty-map", "flat-map", "whose-map", "unfamiliar-image", "image-values", "first-image", "unknown-words",
    "lost-text", "absent-thing", "cut-text", "caution", "few-hits", "stale-hits", "attention-sink", "unchecked",
    "word-values", "part-of-score", "knows-no-score", "weak-calibration",
]  # fmt: skip
"""What a note is about; code decides by the kind and never by the text."""
OF_MAPS: frozenset[NoteKind] = frozenset({"empty-map", "flat-map"})
"""Kinds that repeat what the description or the drawing of a map shows already."""


@dataclass(frozen=True)
class Note:
    """Something that a reader of a result should know; ``str(note)`` is its text.

    Attributes:
        kind: What it is about.
        text: The note in words, about one sample.
        samples: The indices of the samples that it is about, in ascending order; None for all.
    """

    kind: NoteKind
    text: str
    samples: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.text

    def is_about(self, index: int) -> bool:
        """Return whether the note is about a sample."""
        return self.samples is None or index in self.samples

    def text_with_names(self, names: Sequence[str]) -> str:
        """Return the text, after the names of its samples where the note is not about all samples.

        Args:
            names: The names of all samples, for example their files.
        """
        if self.samples is None:
            return self.text
        return f"{', '.join(dict.fromkeys(names[index] for index in self.samples))}: {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return {**asdict(self), "samples": None if self.samples is None else list(self.samples)}


def join_notes(notes: Iterable[Note], count: int) -> tuple[Note, ...]:
    """Join notes of the same kind and text to one about all of their samples.

    Args:
        notes: In the order in which they are read.
        count: How many samples there are; a note about each of them becomes one about all.

    Raises:
        TypeError: a note is not a :class:`Note`.
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
    """Return the texts of notes, each once."""
    return list(dict.fromkeys(note.text for note in notes))
