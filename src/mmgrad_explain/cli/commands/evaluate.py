"""``mmgrad-explain evaluate``: measure a model on a benchmark of composed retrieval, or its maps on a data set."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.commands.evaluate_maps import MAPS_DETAILS, add_map_options, refuse_map_options, run_maps
from mmgrad_explain.cli.output_files import print_beside
from mmgrad_explain.cli.printing import Table, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.protocols import ASPECT_FIGURE, GALLERIES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from mmgrad_explain.data.cir.dataset import CirSet
    from mmgrad_explain.evaluation.composed_retrieval import CirEvaluation

_NOTICES = 3
_DETAILS = f"""\
With --data: embeds the pictures and the queries, and prints Recall@K (and CIRCO's mAP@K) of three kinds of query:
  model        picture and text together
  image only   the reference picture alone
  text only    the text alone (of a model that embeds no text, with a plain grey picture)
The last two are baselines: many queries of the public benchmarks can be answered from one half alone, so compare the
model with them.

--data is NAME:ROOT; `mmgrad-explain data check --help` lists the names, and what ROOT holds. Nothing is left out: if a
picture is missing, the evaluation does not start. The protocol is printed with the figures (docs/datasets.md).

{MAPS_DETAILS}
--submission writes the files for CIRR's or CIRCO's server into a folder, after a check of the server's rules. This also
works for the test splits, which have no public targets.

Exit codes: 0 done, 2 something you can correct (one line says what), 130 stopped by Ctrl-C. Files are written at the
end, each whole or not at all.

Examples:
  mmgrad-explain evaluate --data cirr:datasets/CIRR --model openai/clip-vit-base-patch32
  mmgrad-explain evaluate --data fashioniq:fashion-iq --model ./my-model --gallery queries --out vals.json
  mmgrad-explain evaluate --data fashioniq:fashion-iq --category dress --model ./my-model
  mmgrad-explain evaluate --data circo:CIRCO --split test --model ./my-model --submission submissions/
  mmgrad-explain evaluate --data jsonl:my-triplets --model reference
  mmgrad-explain evaluate --maps scenes/ --methods gradcam,layercam --report figures/
  mmgrad-explain evaluate --maps refcoco:data/refcoco --split testA --limit 500 --model ./my-clip --report figures/
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate", help="measure a model on a retrieval benchmark, or its maps on a data set", details=_DETAILS,
        description="Measure a model on a benchmark of composed image retrieval, or its maps on images with regions.",
    )  # fmt: skip
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="NAME:ROOT", help="the benchmark and its folder, such as cirr:datasets/CIRR")
    what.add_argument("--maps", metavar="SET", help="measure maps on this data set of images with phrases and regions")
    add("--model", default="reference", help="bundled name, folder or hub id (default: %(default)s)")
    add("--split", metavar="SPLIT", help="the split to evaluate (default: the one with public targets)")
    add(
        "--category", action="append", default=[], metavar="NAME",
        help="only this category of fashioniq (dress, shirt or toptee); may be repeated (default: all)",
    )  # fmt: skip
    add("--soft", action="store_true", help="score CIRR's soft targets")
    add(
        "--gallery",
        choices=tuple(GALLERIES),
        default="original",
        help="pictures to rank: all of the split, or only its references and targets (default: %(default)s)",
    )
    reference = parser.add_mutually_exclusive_group()
    reference.add_argument(
        "--remove-reference", dest="exclude", action="store_true", default=None,
        help="remove the reference from the ranking (default: by the benchmark's protocol)",
    )  # fmt: skip
    reference.add_argument("--keep-reference", dest="exclude", action="store_false", help="keep it in the ranking")
    add("--batch", type=int, default=32, metavar="N", help="pictures at once (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda, cuda:N or mps (default: %(default)s)")
    add("--out", metavar="FILE", type=Path, help="write all results as JSON")
    add("--submission", metavar="DIR", type=Path, help="write the files for the benchmark's server")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--json", action="store_true", help="print JSON instead of a table")
    add_map_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate; all options are checked before a picture is embedded."""
    from mmgrad_explain._system.files import atomic_file, check_writable
    from mmgrad_explain.data.cir.formats import FORMATS, read_cir

    if options.maps is not None:
        return run_maps(options)
    refuse_map_options(options)
    name, mark, root = options.data.partition(":")
    if not mark:
        raise InputError(f"--data {options.data!r} must be NAME:ROOT, for example cirr:datasets/CIRR")
    if options.batch < 1:
        raise InputError(f"--batch must be at least 1, got {options.batch}")
    split = options.split or (FORMATS[name].evaluated if name in FORMATS else None)
    data = read_cir(name, root, [split] if split else [], options.category)
    if name == "jsonl" and len(data.queries) > 1:
        raise InputError(f"{root} has several splits, say which one with --split: {', '.join(data.queries)}")
    data.require()

    from mmgrad_explain._system.devices import check_device
    from mmgrad_explain.composers.load import load_composer
    from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir
    from mmgrad_explain.evaluation.submission import submission_files, write_submission

    files = [] if options.submission is None else [options.submission / file for file in submission_files(data)]
    for file in [*files, *filter(None, [options.out])]:
        check_writable(file, overwrite=options.overwrite)
    device = check_device(options.device)
    with Bar() as bar:
        found = evaluate_cir(
            load_composer(options.model).to(device), data, soft=options.soft, gallery=options.gallery,
            exclude_reference=options.exclude, batch=options.batch, submit=options.submission is not None,
            progress=bar.show,
        )  # fmt: skip
    for file in files:
        write_submission(found.submissions[file.name], file, overwrite=options.overwrite)
    report = _report(options.model, data, found, [str(file) for file in files])
    if options.out is not None:
        with atomic_file(options.out, overwrite=options.overwrite) as stream:
            stream.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")
    with print_beside([options.out]):
        if options.json:
            write_json(report)
        else:
            show(*_parts(report))
    return 0


def _report(model: str, data: CirSet, found: CirEvaluation, files: list[str]) -> dict[str, Any]:
    from mmgrad_explain.metrics.report import environment

    return {
        "data": {"name": data.name, "root": str(data.root), "parts": found.counts},
        "model": model,
        "protocol": found.protocol,
        "figures": _finite(found.figures),
        "aspects": _finite(found.aspects),
        "oddities": [str(finding) for finding in data.findings if finding.level == "odd"],
        "notices": list(found.notices),
        "submission": files,
        "environment": environment(),
    }


def _finite(values: Any) -> Any:
    """Replace NaN, which JSON does not have, by None, at any depth of mappings."""
    if isinstance(values, float):
        return None if math.isnan(values) else values
    return {key: _finite(value) for key, value in values.items()}


def _parts(report: Mapping[str, Any]) -> Iterator[str | Table]:
    from mmgrad_explain.metrics.report import MISSING, environment_line, markdown_table

    def cells(row: Mapping[str, float | None]) -> list[str]:
        return [MISSING if value is None else f"{100 * value:.2f}" for value in row.values()]

    data, figures = report["data"], report["figures"]
    yield f"{report['model']} on {data['name']} in {data['root']}"
    yield report["protocol"]
    for part, counts in data["parts"].items():
        known = f"{counts['queries']} queries, {counts['with target']} with target"
        yield f"{part}: {known}, gallery of {counts['gallery']}"
    yield ""
    rows = [[method, part, *cells(row)] for method, parts in figures.items() for part, row in parts.items()]
    names = next(iter(next(iter(figures.values())).values()))
    has_targets = any(counts["with target"] for counts in data["parts"].values())
    head = ["query", "part", *(f"{name} %" for name in names)]
    if has_targets:
        of_model = [number for number, row in enumerate(rows) if row[0] == "model"]
        yield Table(head, rows, markdown_table(head, rows), numbers=range(2, len(head)), marked=of_model)
    else:
        yield "no figures: the targets of this split are not public"
    if report["aspects"]:
        head = ["semantic aspect", f"{ASPECT_FIGURE} % of the model"]
        rows = [[aspect, *cells({"": value})] for aspect, value in report["aspects"].items()]
        yield ""
        yield Table(head, rows, markdown_table(head, rows), numbers=(1,))
    yield ""
    yield environment_line()
    yield from (f"odd: {oddity}" for oddity in report["oddities"])
    notices = report["notices"]
    yield from (f"note: {notice}" for notice in notices[:_NOTICES])
    if len(notices) > _NOTICES:
        yield f"note: and {len(notices) - _NOTICES} more about texts; --json has all of them"
    yield from (f"for the server: {file}" for file in report["submission"])
