"""What a picture of maps says in its own file: text, model, layer, method, score, notes, check figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.explanation.sides import sides_with_maps
from mmgrad_explain.images.provenance import name_without_folders, without_folders

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmgrad_explain.explanation.maps import ExplainedMaps


def picture_record(explanation: ExplainedMaps, maps: Iterable[tuple[int, bool]] | None = None) -> dict[str, Any]:
    """Describe the maps of a picture, for :func:`~mmgrad_explain.images.provenance.attach_provenance`.

    Args:
        explanation: The maps.
        maps: The maps that are drawn: of each the sample, and whether it is that on the target. None takes all.
    """
    drawn = maps
    if drawn is None:
        drawn = [(index, target) for index in range(len(explanation)) for target in sides_with_maps(explanation)]
    return {
        "model": name_without_folders(explanation.model),
        "layers": list(explanation.layer_names),
        "method": explanation.method,
        "fuse": explanation.fuse,
        "score_name": explanation.score_name,
        "versions": dict(explanation.versions),
        "maps": [map_record(explanation, index, target=target) for index, target in drawn],
    }


def map_record(explanation: ExplainedMaps, index: int, *, target: bool = False) -> dict[str, Any]:
    """Describe one map: its text, score, notes and check figures."""
    check = explanation.check_of(index, target=target)
    return {
        "text": None if explanation.texts is None else explanation.texts[index],
        "answer": None if explanation.answers is None else explanation.answers[index],
        "of": "target" if target else "reference",
        "score": float(explanation.score[index]),
        "notes": [without_folders(note.text) for note in explanation.notes_of(index)],
        "check": None if check is None else {**check.to_dict(), "drops": None},
    }
