"""Parts of an answer that are explained: where they are in it, and which parts each sample has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Part: TypeAlias = str | tuple[int, int] | None
"""A part of an answer, word for word or as (start, end) in characters; None is the whole answer."""


class EachWord:
    """The type of :data:`EACH_WORD`."""

    def __repr__(self) -> str:
        return "EACH_WORD"


EACH_WORD = EachWord()
"""Asks for a map of each whole answer and of each of its words; the answer need not be known yet."""
Parts: TypeAlias = Part | Sequence[Part | Sequence[Part]] | EachWord
"""One part for all answers; a list: the parts of a single answer, or one part or list of parts for each answer; or
:data:`EACH_WORD`."""


@dataclass(frozen=True)
class AnswerParts:
    """Several parts of each of B answers, for one forward pass.

    Attributes:
        labels: K tensors like those of :class:`~mmgrad_explain.composers.generative.outputs.GenerativeOutput`,
            ``(B, A + 1)``; answers with fewer parts repeat their last one.
        wanted: For each sample of the result the index into ``labels`` and the index of the answer, answer by answer.
    """

    labels: tuple[Tensor, ...]
    wanted: tuple[tuple[int, int], ...]

    def outputs(self, output: Any) -> list[Any]:
        """Make one output for each of ``labels`` from a model's output."""
        return [output._replace(labels=labels) for labels in self.labels]


def words_of(answer: str) -> list[tuple[int, int]]:
    """Find the words of an answer, and leave out the punctuation around them.

    Returns:
        (start, end) of each, in characters; those of signs, such as ``?!``, where it has no words at all.
    """
    words = [match.span() for match in re.finditer(r"\w+(?:['’.,-]\w+)*", answer)]
    return words or [match.span() for match in re.finditer(r"\S+", answer)]


def parts_of_each(parts: Parts, answers: Sequence[str]) -> list[list[Part]]:
    """List the parts of each answer.

    Args:
        parts: As a caller gives them.
        answers: The answers.

    Raises:
        InputError: If the list is empty, or not of this length.
        TypeError: If something in it is neither a string nor (start, end).
    """
    if isinstance(parts, EachWord):
        return [[None, *words_of(answer)] for answer in answers]
    if not is_several(parts):
        return [[_check_part(parts)] for _ in answers]
    count = len(answers)
    listed: list[Any] = list(parts)  # type: ignore[arg-type]
    if count == 1 and not any(map(is_several, listed)):
        listed = [listed]
    any_empty = not all(part or not is_several(part) for part in listed)
    if len(listed) != count or any_empty:
        have = "an empty list" if any_empty else f"{len(listed)} of them"
        raise InputError(
            f"answer_part: {have} for {count} answers: give one part for all, one each, or a list of parts each"
        )
    return [[_check_part(part) for part in own] if is_several(own) else [_check_part(own)] for own in listed]


def place_of_part(part: Part, answer: str) -> tuple[int, int]:
    """Find a part in an answer, as whole words if possible.

    Returns:
        (start, end) in characters.

    Raises:
        InputError: If the part is empty, not in the answer, or in it more than once.
    """
    if part is None:
        return 0, len(answer)
    if isinstance(part, tuple):
        start, end = part
        if not 0 <= start < end <= len(answer):
            raise InputError(
                f"answer_part: {part} must be (start, end) in the answer {answer!r}, at most {len(answer)}"
            )
        return start, end
    if not part.strip():
        raise InputError("answer_part is empty: name a part of the answer, or leave it out to ask about all of it")
    escaped = re.escape(part)
    places = [match.span() for match in re.finditer(rf"(?<!\w){escaped}(?!\w)", answer)]
    places = places or [match.span() for match in re.finditer(escaped, answer)]
    if not places:
        raise InputError(f"answer_part: {part!r} is not in the answer {answer!r}")
    if len(places) > 1:
        listed = ", ".join(map(str, places))
        raise InputError(
            f"answer_part: {part!r} is {len(places)} times in the answer {answer!r}: give more of what is around it, "
            f"or its place, one of {listed}"
        )
    return places[0]


def is_several(parts: object) -> bool:
    """Return whether these are several parts; a tuple of two whole numbers is one part."""
    return isinstance(parts, EachWord) or (
        isinstance(parts, list | tuple) and not (isinstance(parts, tuple) and _is_span(parts))
    )


def _is_span(part: tuple[Any, ...]) -> bool:
    return len(part) == 2 and all(isinstance(end, int) and not isinstance(end, bool) for end in part)


def _check_part(part: Any) -> Part:
    if part is None or isinstance(part, str) or (isinstance(part, tuple) and _is_span(part)):
        return part
    raise TypeError(f"answer_part must be a string, (start, end) or a list of them, got {type(part).__name__}")
