"""``mmgrad-explain data check``: find what is missing or odd in a composed-retrieval data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.printing import Table, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.data.cir.formats import FORMATS, read_cir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.data.cir.dataset import CirSet, Finding

_FORMATS = "\n".join(f"  {name:<11}  {known.layout}" for name, known in FORMATS.items())
_DETAILS = f"""\
Reads the annotations of a benchmark as they are published, counts them, and looks for every picture they name. What is
missing, damaged or odd is listed with a count, some names, and what to do about it; nothing is left out silently. The
files of pictures must exist; with --open each is also read, which takes a while and finds incomplete downloads.

NAME and what ROOT holds (docs/datasets.md says more):
{_FORMATS}

Exit codes: 0 all that evaluation needs is there, 1 something of that is missing, 2 something you can correct (one line
says what, for example that ROOT holds nothing of NAME). A split that is not there at all is no error as long as another
can be evaluated, unless --split asks for it.

Examples:
  mmgrad-explain data check cirr datasets/CIRR
  mmgrad-explain data check fashioniq datasets/fashion-iq --split val
  mmgrad-explain data check fashioniq datasets/fashion-iq --category dress
  mmgrad-explain data check jsonl my-triplets --open --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check", help="find what is missing or odd in a benchmark", details=_DETAILS,
        description="Find what is missing or odd in a composed-retrieval data set.",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="its format, such as cirr (--help lists them)")
    parser.add_argument("root", metavar="ROOT", help="its folder")
    parser.add_argument(
        "--split", action="append", default=[], metavar="SPLIT", help="only this split, may be repeated"
    )
    parser.add_argument(
        "--category", action="append", default=[], metavar="NAME",
        help="only this category of fashioniq, may be repeated",
    )  # fmt: skip
    parser.add_argument("--open", action="store_true", help="read every picture, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the set and report; 1 if evaluation would miss something."""
    found = read_cir(options.name, options.root, options.split, options.category)
    if options.open:
        from mmgrad_explain.data.cir.image_files import check_images

        with Bar() as bar:
            found = check_images(found, bar.show)
    if options.json:
        write_json(_as_json(found))
    else:
        show(*_parts(found))
    return 0 if found.complete else 1


def _as_json(found: CirSet) -> dict[str, Any]:
    from dataclasses import asdict

    findings = [asdict(finding) for finding in found.findings]
    about = {"name": found.name, "root": str(found.root), "complete": found.complete}
    return {**about, **found.summarize(), "findings": findings}


def _parts(found: CirSet) -> Iterator[str | Table]:
    from mmgrad_explain.data.cir.dataset import LEVELS

    summary = found.summarize()
    yield f"{found.name} in {found.root}"
    for part, counts in summary["parts"].items():
        groups = f", {counts['groups']} groups" if "groups" in counts else ""
        yield (
            f"  {part:<12} {counts['queries']} queries ({counts['with target']} with target), gallery of "
            f"{counts['gallery']}, references and targets {counts['references and targets']}{groups}"
        )
    yield f"  {'images':<12} {summary['pictures'] - summary['missing']} of {summary['pictures']} are there"
    for level, title in LEVELS.items():
        of_level = [finding for finding in found.findings if finding.level == level]
        if of_level:
            yield ""
            yield f"{title}:"
            yield _findings(of_level)
    yield ""
    yield "all that evaluation needs is there" if found.complete else "evaluation would miss something"


def _findings(of_level: Sequence[Finding]) -> Table:
    plain = [
        f"  {finding.where}: {finding.count} x {finding.what}; {finding.advice}\n      {finding.names}"
        for finding in of_level
    ]
    rows = [(finding.where, str(finding.count), finding.what, finding.names, finding.advice) for finding in of_level]
    head = ("where", "count", "what", "which", "what to do")
    return Table(head, rows, "\n".join(plain), numbers=(1,), broken=(2, 3, 4))
