"""The JSON that the page offers for download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.explanation.sides import call_of, sides_with_maps

if TYPE_CHECKING:
    from mmgrad_explain.explanation.result import Explanation


def explanation_record(asked: dict[str, Any], explanation: Explanation) -> dict[str, Any]:
    """Describe an explanation without its images, ready for JSON.

    Args:
        asked: The request that it answers.
        explanation: The maps.

    Returns:
        ``asked``, the manifest of ``explanation``, and ``maps``: for each sample and its target, the values on the
        layer's grid as rows, the brightest region in pixels of the image, what the map means in words, and notes.
    """
    maps = []
    for index in range(len(explanation)):
        for of_target in sides_with_maps(explanation):
            region = explanation.brightest_region(index, target=of_target)
            maps.append(
                {
                    "text": None if explanation.texts is None else explanation.texts[index],
                    "of": "target" if of_target else "reference",
                    "score": float(explanation.score[index]),
                    "grid": explanation.calls[call_of(explanation, target=of_target)][index].tolist(),
                    "brightest_region": None if region is None else region.to_dict(),
                    "in_words": explanation.in_words(index, target=of_target),
                    "notes": [note.text for note in explanation.notes_of(index)],
                }
            )
    return {"format": "mmgrad_explain.page/1", "asked": asked, "explanation": explanation.manifest(), "maps": maps}
