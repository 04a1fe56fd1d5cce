"""A page of figures of maps over a data set: one HTML file that needs nothing else, with the worst cases first.

Everything that comes from the data set is data in the page, never markup: the script writes it as text. The page's own
policy allows it no request at all, and no script but its own.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import math
from importlib import resources
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import atomic_file, check_writable
from mmgrad_explain.evaluation.map_set_figures import known
from mmgrad_explain.metrics.map_figures import CONTRAST, MAP_FIGURES
from mmgrad_explain.metrics.report import environment, environment_line

if TYPE_CHECKING:
    from pathlib import Path

    from mmgrad_explain.evaluation.map_set_figures import MapSetFigures
    from mmgrad_explain.metrics.intervals import Interval

FILES = ("report.html", "figures.json", "samples.csv", "table.md")
"""What :func:`write_map_report` writes."""
_SIGNS_OF_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def check_report_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Check, without writing anything, that the files of a report can be written.

    Raises:
        OutputExistsError: One of them exists and ``overwrite`` is false.
        InputError: The folder cannot be written to.
    """
    for name in FILES:
        check_writable(folder / name, overwrite=overwrite)


def write_map_report(
    figures: MapSetFigures, folder: Path, *, title: str = "", overwrite: bool = False, level: float = 0.95
) -> list[Path]:
    """Write ``report.html``, ``figures.json``, ``samples.csv`` and ``table.md`` into a folder; it is made if missing.

    Args:
        figures: From :func:`~mmgrad_explain.evaluation.map_sets.evaluate_map_set`.
        folder: Where to.
        title: What was measured, for example the model's name.
        overwrite: Replace files that exist.
        level: The share of draws inside an interval.

    Returns:
        The files.

    Raises:
        OutputExistsError: A file exists and ``overwrite`` is false.
        InputError: The folder cannot be written to.
    """
    check_report_folder(folder, overwrite=overwrite)
    record = {"title": title, **figures.to_dict(level=level), "environment": environment()}
    contents = {
        "report.html": report_page(figures, title=title, level=level),
        "figures.json": json.dumps({**record, "samples": figures.rows()}, indent=1, ensure_ascii=False) + "\n",
        "samples.csv": _csv(figures),
        "table.md": f"{figures.markdown(level=level)}\n\n{_how(figures, level)} {environment_line()}.\n",
    }
    for name, content in contents.items():
        with atomic_file(folder / name, overwrite=overwrite) as stream:
            stream.write(content.encode(errors="replace"))
    return [folder / name for name in FILES]


def report_page(figures: MapSetFigures, *, title: str = "", level: float = 0.95) -> str:
    """Make the page.

    Args:
        figures: From :func:`~mmgrad_explain.evaluation.map_sets.evaluate_map_set`.
        title: What was measured, for example the model's name.
        level: The share of draws inside an interval.
    """
    style, script = (
        resources.files("mmgrad_explain.evaluation").joinpath("static", name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    heading = f"Maps of {title}" if title else "Maps"
    data = figures.data
    about = f"{data.name}: {data.description}. {_count(figures)}."
    notes = [*_notes(figures)]
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{html.escape(heading)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#cases">Skip to the cases</a>',
            f"<header><h1>{html.escape(heading)}</h1><p>{html.escape(about)}</p></header>",
            "<main>",
            '<section aria-labelledby="table-title"><h2 id="table-title">All samples</h2>',
            _summary_table(figures, level),
            f'<p class="how">{html.escape(_how(figures, level))}</p>',
            *(f'<p class="note">{html.escape(note)}</p>' for note in notes),
            "</section>",
            _kinds_section(figures, level),
            '<section id="cases" tabindex="-1" aria-labelledby="cases-title"><h2 id="cases-title">Cases</h2>',
            "<noscript><p>The cases are shown by the page's own script; samples.csv has all of them.</p></noscript>",
            '<div id="case-list"></div></section>',
            "</main>",
            f"<footer><p>{html.escape(environment_line())}</p></footer>",
            f'<script type="application/json" id="data">{_json(_cases(figures))}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> str:
    """Write JSON that cannot end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _count(figures: MapSetFigures) -> str:
    samples, images = len(figures.data), len(set(figures.groups))
    return f"{samples} sample{'s' * (samples != 1)} about {images} image{'s' * (images != 1)}"


def _how(figures: MapSetFigures, level: float) -> str:
    return (
        f"Means with {level:.0%} bootstrap intervals over {len(set(figures.groups))} images. The last rows are maps "
        "that know nothing of the text."
    )


def _notes(figures: MapSetFigures) -> list[str]:
    notes = [f"{method} is not in the table: {reason}" for method, reason in figures.refused.items()]
    for method, failed in figures.failed.items():
        notes.append(f"{method} has no map of {len(failed)} samples; the first: {next(iter(failed.values()))}")
    if figures.left_out:
        first = next(iter(figures.left_out.items()))
        notes.append(f"{len(figures.left_out)} samples were left out; the first, {first[0]}: {first[1]}")
    return notes + [f"In the data: {line}" for line in figures.data.problem_lines()]


def _summary_table(figures: MapSetFigures, level: float) -> str:
    summary = figures.summary(level=level)
    best = {
        figure.name: (min if figure.lower_is_better else max)(
            (summary[name][figure.name].mean for name in figures.maps if summary[name][figure.name].known),
            default=None,
        )
        for figure in MAP_FIGURES
    }
    lines = ['<div class="scroll" tabindex="0" role="group" aria-label="Figures of all samples"><table><thead><tr>']
    lines.append('<th scope="col">map</th>')
    lines += [
        f'<th scope="col" title="{html.escape(figure.meaning)}">{html.escape(figure.heading)}'
        f"{' ↓' if figure.lower_is_better else ''}</th>"
        for figure in MAP_FIGURES
    ]
    lines.append("</tr></thead><tbody>")
    for name, row in summary.items():
        floor = name in figures.floors
        lines.append(f'<tr{" class=floor" if floor else ""}><th scope="row">{html.escape(name)}</th>')
        for figure, one in row.items():
            top = not floor and len(figures.maps) > 1 and best[figure] == one.mean
            lines.append(_cell(one, top=top))
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _kinds_section(figures: MapSetFigures, level: float) -> str:
    kinds = figures.by_kind(level=level)
    if len(kinds) < 2 or not figures.maps:
        return ""
    lines = ['<section aria-labelledby="kinds-title"><h2 id="kinds-title">Pointing, by kind</h2>']
    lines.append('<div class="scroll" tabindex="0" role="group" aria-label="Pointing, by kind"><table><thead><tr>')
    lines.append('<th scope="col">kind</th><th scope="col">samples</th>')
    lines += [f'<th scope="col">{html.escape(name)}</th>' for name in figures.maps]
    lines.append("</tr></thead><tbody>")
    for kind, row in kinds.items():
        count = sum(sample.kind == kind for sample in figures.data.samples)
        lines.append(f'<tr><th scope="row">{html.escape(kind)}</th><td>{count}</td>')
        lines += [_cell(one) for one in row.values()]
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table></div></section>"])


def _cell(one: Interval, *, top: bool = False) -> str:
    if not one.known:
        return "<td>–</td>"
    spread = "" if math.isnan(one.low) else f" <small>{one.low:.2f} to {one.high:.2f}</small>"
    return f"<td{' class=top' if top else ''}>{one.mean:.3f}{spread}</td>"


def _cases(figures: MapSetFigures) -> dict[str, Any]:
    """Collect what the script shows: figures of every sample, and pictures of the worst."""
    names = [figure.name for figure in MAP_FIGURES if not figure.compares_texts and figure.name != "dead"]
    headings = {figure.name: figure.heading for figure in MAP_FIGURES}
    contrast = {method: figures.contrast_of_samples(method) for method in figures.maps}
    samples = []
    for number, sample in enumerate(figures.data.samples):
        if sample.id in figures.left_out:
            continue
        values = {
            method: [*(known(of[name][number]) for name in names), known(contrast[method][number])]
            for method, of in figures.maps.items()
        }
        picture = figures.pictures.get(number)
        case: dict[str, Any] = {
            "id": sample.id, "text": sample.text, "kind": sample.kind, "image": sample.image_name, "values": values,
        }  # fmt: skip
        if picture is not None:
            case["size"] = [picture.width, picture.height]
            case["picture"] = _data_url(picture.image)
            case["maps"] = {method: _data_url(drawn) for method, drawn in picture.maps.items()}
            case["empty"] = [method for method, of in figures.maps.items() if float(of["dead"][number]) == 1]
        samples.append(case)
    return {
        "methods": list(figures.maps),
        "figures": [headings[name] for name in (*names, CONTRAST)],
        "kinds": list(figures.data.kinds),
        "samples": samples,
    }


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _csv(figures: MapSetFigures) -> str:
    """Write a row for each sample and method; a text that a spreadsheet would take for a formula gets an apostrophe."""
    stream = io.StringIO()
    rows = figures.rows()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _safe(value) for key, value in row.items()} for row in rows)
    return stream.getvalue()


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_SIGNS_OF_FORMULAS) else value
