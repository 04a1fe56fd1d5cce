"""What ``mmgrad-explain overlay`` tells of a map: as JSON, and in lines."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from mmgrad_explain.explanation.result import Explanation


def result_of(
    explanation: Explanation, index: int, file: Path, image: str, options: argparse.Namespace
) -> dict[str, Any]:
    """What ``--json`` tells of one sample."""
    return {
        "image": image,
        "file": str(file),
        "text": None if explanation.texts is None else explanation.texts[index],
        "answer": None if explanation.answers is None else explanation.answers[index],
        "model": explanation.model,
        "layers": list(explanation.layer_names),
        "grid": list(explanation.maps.shape[1:]),
        "weighting": explanation.weighting,
        "score_name": explanation.score_name,
        "score": float(explanation.score[index]),
        "brightest_region": region_of(explanation, index),
        "words": None if explanation.words is None else [word.to_dict() for word in explanation.words[index]],
        "in_words": explanation.in_words(index) if options.in_words else None,
        "flat": bool(explanation.flat[index]),
        "clipped": bool(explanation.clipped[index]),
        "notes": texts_of(explanation.notes_of(index)),
        "versions": dict(explanation.versions),
    }


def region_of(explanation: Explanation, index: int) -> dict[str, Any] | None:
    """The brightest region, ready for JSON."""
    region = explanation.brightest_region(index)
    return None if region is None else region.to_dict()


def text_of(result: dict[str, Any]) -> str:
    """The lines that are printed of a result."""
    from mmgrad_explain.explanation.places_in_words import percent

    grid = "x".join(map(str, result["grid"]))
    lines = [
        result["file"],
        f"  score   {result['score_name']} = {result['score']:.4g}",
        f"  map     {result['weighting']} at {', '.join(result['layers'])}, {grid} cells, model {result['model']}",
    ]
    if result["model_choice"] is not None:
        lines.append(f"  model   {result['model']}: {result['model_choice']}")
    if result["answer"] is not None:
        lines.append(f"  answer  {result['answer']}")
    region = result["brightest_region"]
    if region is None:
        lines.append(f"  region  none: {_why_dark(result)}")
    else:
        where = _where(region)
        share = percent(region["share"])
        lines.append(f"  region  {share} of the map lies in its brightest region: {where} of the picture")
    for kind in ("phrase", "part"):
        for one in result.get(f"{kind}s", ()):
            place = "nowhere" if one["brightest_region"] is None else _where(one["brightest_region"])
            lines.append(f"  {kind:<7} {one[kind]}: {place}")
    if result["words"] is not None:
        said = "  ".join(f"{word['word']} {round(word['scaled'], 2) + 0.0:+.2f}" for word in result["words"])
        lines.append(f"  words   {said or 'none: the model read none of them'}")
    if result["in_words"] is not None:
        for paragraph in result["in_words"].split("\n\n"):
            lines += ["", *textwrap.wrap(paragraph, 100, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)


def _why_dark(result: dict[str, Any]) -> str:
    if result["clipped"]:
        return "the map is empty (no part of the picture raises the score)"
    if result["flat"]:
        return "the map is flat (no place of the picture counts more than another)"
    return "the map lies outside the picture (on the margin of the model's input)"


def _where(region: dict[str, Any]) -> str:
    left, top, right, bottom = region["box"]
    return f"x {left} to {right}, y {top} to {bottom}"
