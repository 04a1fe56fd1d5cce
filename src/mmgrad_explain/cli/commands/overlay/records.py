"""What ``overlay --json`` prints of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from mmgrad_explain.explanation.result import Explanation


def sample_record(explanation: Explanation, index: int, *, in_words: bool) -> dict[str, Any]:
    """Describe a map, ready for JSON.

    Args:
        explanation: The maps.
        index: Which sample.
        in_words: Say in plain words what the map means, too.
    """
    return {
        "text": None if explanation.texts is None else explanation.texts[index],
        "answer": None if explanation.answers is None else explanation.answers[index],
        "model": explanation.model,
        "layers": list(explanation.layer_names),
        "grid": list(explanation.maps.shape[1:]),
        "method": explanation.method,
        "score_name": explanation.score_name,
        "score": float(explanation.score[index]),
        "brightest_region": _region(explanation, index),
        "words_by": explanation.words_by[index] if explanation.words_by else None,
        "words": None if explanation.words is None else [word.to_dict() for word in explanation.words[index]],
        "in_words": explanation.in_words(index) if in_words else None,
        "check": _check(explanation, index),
        "flat": bool(explanation.flat[index]),
        "clipped": bool(explanation.clipped[index]),
        "notes": texts_of(explanation.notes_of(index)),
        "versions": dict(explanation.versions),
    }


def part_record(explanation: Explanation, index: int) -> dict[str, Any]:
    """Describe the map of a phrase, or of a part of an answer, ready for JSON."""
    return {
        "score": float(explanation.score[index]),
        "brightest_region": _region(explanation, index),
        "check": _check(explanation, index),
        "notes": texts_of(explanation.notes_of(index)),
    }


def _check(explanation: Explanation, index: int) -> dict[str, Any] | None:
    """Describe the check of the reference's map, or else of the target's; None if neither was checked."""
    check = explanation.check_of(index) or explanation.check_of(index, target=True)
    return None if check is None else check.to_dict()


def _region(explanation: Explanation, index: int) -> dict[str, Any] | None:
    region = explanation.brightest_region(index)
    return None if region is None else region.to_dict()
