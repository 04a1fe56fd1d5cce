"""What ``mmgrad-explain overlay`` prints."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.output_files import print_beside
from mmgrad_explain.cli.printing import complain, note, show
from mmgrad_explain.cli.streams import write_json

if TYPE_CHECKING:
    from mmgrad_explain.cli.commands.overlay.drawing import Drawn
    from mmgrad_explain.cli.commands.overlay.request import Request


def print_report(drawn: Drawn, request: Request) -> None:
    """Print what was drawn, as lines or as JSON; what to know about it goes to standard error."""
    for remark in drawn.remarks:
        note(remark)
    for name, error in drawn.failed.items():
        complain(f"{name} is left out", str(error))
    with print_beside(file.path for _, file in request.images):
        if request.as_json:
            write_json(drawn.records)
        else:
            show(*map(_lines, drawn.records))


def _lines(record: dict[str, Any]) -> str:
    from mmgrad_explain.explanation.places_in_words import format_percent

    grid = "x".join(map(str, record["grid"]))
    lines = [
        record["file"],
        f"  score   {record['score_name']} = {record['score']:.4g}",
        f"  map     {record['method']} at {', '.join(record['layers'])}, {grid} cells, model {record['model']}",
    ]
    if record["model_choice"] is not None:
        lines.append(f"  model   {record['model']} answers, because {record['model_choice']}")
    if record["answer"] is not None:
        lines.append(f"  answer  {record['answer']}")
    region = record["brightest_region"]
    if region is None:
        lines.append(f"  region  none: {_why_dark(record)}")
    else:
        where = _box(region)
        share = format_percent(region["share"])
        lines.append(f"  region  {share} of the map lies in its brightest region: {where} of the picture")
    for kind in ("phrase", "part"):
        for part in record.get(f"{kind}s", ()):
            place = "nowhere" if part["brightest_region"] is None else _box(part["brightest_region"])
            verdict = "" if part["check"] is None else f" ({part['check']['verdict']})"
            lines.append(f"  {kind:<7} {part[kind]}: {place}{verdict}")
    if record["words"] is not None:
        said = "  ".join(f"{word['word']} {round(word['scaled'], 2) + 0.0:+.2f}" for word in record["words"])
        lines.append(f"  words   {said or 'none: the model read none of them'}")
    if record["check"] is not None:
        checked = textwrap.wrap(record["check"]["in_words"], 100)
        lines += [f"  check   {checked[0]}", *(f"          {line}" for line in checked[1:])]
    if record["in_words"] is not None:
        for paragraph in record["in_words"].split("\n\n"):
            lines += ["", *textwrap.wrap(paragraph, 100, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)


def _why_dark(record: dict[str, Any]) -> str:
    if record["clipped"]:
        return "the map is empty (no part of the picture raises the score)"
    if record["flat"]:
        return "the map is flat (no place of the picture counts more than another)"
    return "the map lies outside the picture (on the margin of the model's input)"


def _box(region: dict[str, Any]) -> str:
    left, top, right, bottom = region["box"]
    return f"x {left} to {right}, y {top} to {bottom}"
