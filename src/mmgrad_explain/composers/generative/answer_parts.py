"""Parts of an answer that are asked about: where they stand in it, and which of them each sample is of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Part: TypeAlias = str | tuple[int, int] | None
"""A part of an answer as it stands there, or by (start, end) in characters; None is the whole answer."""
Parts: TypeAlias = Part | Sequence[Part | Sequence[Part]]
"""One part for all answers; or a list, of the parts of one answer, or of one part, or a list of parts, an answer."""


@dataclass(frozen=True)
class PartsAsked:
    """Several parts of each of B answers, for one forward.

    Attributes:
        labels: K tensors as of :class:`~mmgrad_explain.composers.generative.composer.GenerativeOutput`, ``(B, A +
            1)``; answers with fewer parts have their last one again.
        wanted: Of each sample of the result, which of ``labels`` and which answer it is of, answer by answer.
    """

    labels: tuple[Tensor, ...]
    wanted: tuple[tuple[int, int], ...]

    def outputs(self, output: Any) -> list[Any]:
        """A model's output once for each of ``labels``."""
        return [output._replace(labels=labels) for labels in self.labels]


def parts_of_each(parts: Parts, count: int) -> list[list[Part]]:
    """The parts of each answer.

    Args:
        parts: As a caller has them.
        count: How many answers there are.

    Raises:
        InputError: If the list is empty, or not of this number.
        TypeError: If something in it is neither a string nor (start, end).
    """
    if not is_several(parts):
        return [[_checked(parts)] for _ in range(count)]
    listed: list[Any] = list(parts)  # type: ignore[arg-type]
    if count == 1 and not any(map(is_several, listed)):
        listed = [listed]
    if len(listed) != count or not all(one or not is_several(one) for one in listed):
        have = "an empty list" if not all(one or not is_several(one) for one in listed) else f"{len(listed)} of them"
        raise InputError(
            f"answer_part: {have} for {count} answers: give one part for all, one each, or a list of parts each"
        )
    return [[_checked(part) for part in one] if is_several(one) else [_checked(one)] for one in listed]


def place_of_part(part: Part, answer: str) -> tuple[int, int]:
    """Where a part stands in an answer, (start, end) in characters; as whole words, if it does so anywhere.

    Raises:
        InputError: If it is empty, not there, or there more than once.
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
    places = [one.span() for one in re.finditer(rf"(?<!\w){escaped}(?!\w)", answer)]
    places = places or [one.span() for one in re.finditer(escaped, answer)]
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
    """Whether these are several parts; a tuple of two whole numbers is a place."""
    return isinstance(parts, list | tuple) and not (isinstance(parts, tuple) and _is_place(parts))


def _is_place(part: tuple[Any, ...]) -> bool:
    return len(part) == 2 and all(isinstance(one, int) and not isinstance(one, bool) for one in part)


def _checked(part: Any) -> Part:
    if part is None or isinstance(part, str) or (isinstance(part, tuple) and _is_place(part)):
        return part
    raise TypeError(f"answer_part must be a string, (start, end) or a list of them, got {type(part).__name__}")
