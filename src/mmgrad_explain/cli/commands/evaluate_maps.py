"""``mmgrad-explain evaluate --maps``: where the maps of a model are, over a data set of images with regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.known_names import METHODS, SCORES_WITH_TARGET
from mmgrad_explain.cli.output_files import print_beside
from mmgrad_explain.cli.printing import Table, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.cli.typed_values import check_name
from mmgrad_explain.data.phrases.formats import PHRASE_FORMATS
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mmgrad_explain.data.phrases.dataset import PhraseSet
    from mmgrad_explain.evaluation.map_set_figures import MapSetFigures

_FORMATS = "\n".join(f"  {name:<10}  {known.layout}" for name, known in PHRASE_FORMATS.items())
MAPS_DETAILS = f"""\
With --maps: draws the map of every text of a data set and measures whether it lies where the text is right: pointing,
energy, IoU, AUC, contrast between two texts about one picture; with intervals (bootstrap over pictures) and beside maps
that know nothing. SET is a folder or file, or NAME:ROOT. NAME, and what ROOT holds:
{_FORMATS}
--report DIR writes report.html (one page that opens offline, with pictures of the worst cases), figures.json,
samples.csv and table.md.
"""
_OF_MAPS = {
    "methods": "--methods", "layers": "--layers", "score": "--score", "images": "--images", "limit": "--limit",
    "seed": "--seed", "kind": "--kind", "phrase": "--phrase", "template": "--template", "pictures": "--pictures",
    "report": "--report",
}  # fmt: skip
_OF_RETRIEVAL = {
    "category": "--category", "soft": "--soft", "exclude": "--remove-reference and --keep-reference",
    "submission": "--submission",
}  # fmt: skip
_PICTURES = 200


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``--maps``; all are None or empty unless they are given."""
    group = parser.add_argument_group("with --maps")
    add = group.add_argument
    add("--methods", metavar="A,B,...", help="methods of maps, with commas between (default: the model's)")
    add("--layers", metavar="A,B,...", help="layers, each with every method; A+B fuses two (default: the model's)")
    add("--score", metavar="NAME", help="what the maps explain; overlay --help lists the scores (default: the model's)")
    add("--images", metavar="DIR", help="folder of the pictures, where they are not beside the annotations")
    add("--limit", type=int, metavar="N", help="at most so many samples, of pictures drawn at random")
    add("--seed", type=int, metavar="N", help="seed of that draw (default: 0)")
    add(
        "--kind", action="append", default=[], metavar="NAME",
        help="only samples of this class or kind of edit; may be repeated",
    )  # fmt: skip
    add(
        "--phrase", action="append", default=[], metavar="TEXT",
        help="only samples whose text contains this; may be repeated",
    )  # fmt: skip
    add("--template", metavar="TEXT", help='a sentence for the texts, such as "a photo of a {}"')
    add("--pictures", type=int, metavar="N", help=f"how many of the worst cases are drawn (default: {_PICTURES})")
    add("--report", metavar="DIR", type=Path, help="write the page, the figures and the samples into this folder")


def refuse_map_options(options: argparse.Namespace) -> None:
    """Refuse options of ``--maps`` that are given with ``--data``.

    Raises:
        InputError: One is given.
    """
    _refuse(options, _OF_MAPS, "--maps")


def _refuse(options: argparse.Namespace, names: dict[str, str], belongs_to: str) -> None:
    for name, option in names.items():
        if getattr(options, name) not in (None, False, []):
            raise InputError(f"{option} belongs to {belongs_to}: leave it out")


def run_maps(options: argparse.Namespace) -> int:
    """Measure maps; all options are checked before a map is drawn. 1 if samples had to be left out."""
    from mmgrad_explain._system.files import atomic_file, check_writable
    from mmgrad_explain.evaluation.map_report import check_report_folder, write_map_report

    _refuse(options, _OF_RETRIEVAL, "--data")
    methods, layers = _split(options.methods), _split(options.layers)
    for method in methods:
        check_name("--methods", method, METHODS)
    if options.score in SCORES_WITH_TARGET:
        raise InputError(f"--score {options.score} compares with a target, which a phrase has not: leave it out")
    if options.batch < 1:
        raise InputError(f"--batch must be at least 1, got {options.batch}")
    if options.pictures is not None and options.pictures < 0:
        raise InputError(f"--pictures must be at least 0, got {options.pictures}")
    if options.report is not None:
        check_report_folder(options.report, overwrite=options.overwrite)
    if options.out is not None:
        check_writable(options.out, overwrite=options.overwrite)
    data = _read(options)
    data.require_images()

    from mmgrad_explain._system.devices import check_device
    from mmgrad_explain.judging import evaluate_maps
    from mmgrad_explain.metrics.report import environment

    device = check_device(options.device)
    with Bar() as bar:
        found = evaluate_maps(
            options.model, data, methods=methods, layers=layers, score=options.score, device=device,
            batch=options.batch, pictures=_PICTURES if options.pictures is None else options.pictures,
            progress=bar.show,
        )  # fmt: skip
    report = {"model": options.model, **found.to_dict(), "environment": environment()}
    if options.report is not None:
        files = write_map_report(found, options.report, title=options.model, overwrite=options.overwrite)
        report["files"] = [str(file) for file in files]
    if options.out is not None:
        with atomic_file(options.out, overwrite=options.overwrite) as stream:
            text = json.dumps({**report, "samples": found.rows()}, indent=2, ensure_ascii=False)
            stream.write(text.encode(errors="replace") + b"\n")
    with print_beside([options.out]):
        if options.json:
            write_json(report)
        else:
            show(*_parts(report, found))
    return 1 if found.left_out or found.failed else 0


def _split(names: str | None) -> list[str]:
    return [] if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _read(options: argparse.Namespace) -> PhraseSet:
    """Read the data set, and choose samples."""
    from mmgrad_explain.data.phrases.formats import read_phrases

    name, mark, root = options.maps.partition(":")
    if not mark or name not in PHRASE_FORMATS:
        if mark and not Path(options.maps).exists():
            read_phrases(root, name)  # raises: there is no such format
        name, root = None, options.maps
    data = read_phrases(root, name, split=options.split, images=options.images)
    data = data.select(kinds=options.kind, phrases=options.phrase, limit=options.limit, seed=options.seed or 0)
    return data if options.template is None else data.with_template(options.template)


def _parts(report: dict[str, Any], found: MapSetFigures) -> Iterator[str | Table]:
    from mmgrad_explain.metrics.map_figures import MAP_FIGURES
    from mmgrad_explain.metrics.report import environment_line

    data = report["data"]
    yield f"{report['model']} on {data['format']} in {data['root']}"
    yield f"{data['description']}: {data['samples']} samples about {data['images']} images"
    yield ""
    head = ["map", *(figure.heading for figure in MAP_FIGURES)]
    rows = [[name, *(one.describe(2) for one in row.values())] for name, row in found.summary().items()]
    plain = found.markdown()
    yield Table(head, rows, plain, numbers=range(1, len(head)), marked=range(len(found.maps)))
    yield ""
    yield environment_line()
    yield from (f"note: {method} is left out: {reason}" for method, reason in found.refused.items())
    for method, failed in found.failed.items():
        yield f"note: {method} has no map of {len(failed)} samples; the first: {next(iter(failed.values()))}"
    if found.left_out:
        sample, reason = next(iter(found.left_out.items()))
        yield f"note: {len(found.left_out)} samples are left out; the first, {sample}: {reason}"
    yield from (f"odd: {line}" for line in found.data.problem_lines())
    yield from (f"written: {file}" for file in report.get("files", ()))
