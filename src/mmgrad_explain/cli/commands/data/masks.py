"""``mmgrad-explain data masks``: make masks for a composed-retrieval set, without annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.files import check_writable
from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.printing import show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.masks.settings import MAKERS, MASKS, MaskSettings
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_KINDS = "\n".join(f"  {name:<11} {what}" for name, what in MASKS.items() if name in MAKERS)
_DETAILS = f"""\
A grounding loss needs to know where a map should be bright. The published sets do not say; these can be tried, in the
order in which you name them, and for each caption the first that finds something counts:
{_KINDS}

Masks are soft, lie in ROOT/.mmgrad-masks under a hash of all settings, and are made once: a run that was stopped goes
on, and `train` with the same masks: takes them. What was not found is counted with its reason, never made up.

Examples:
  mmgrad-explain data masks fashioniq fashion-iq --masks clipseg --masks segments --sheet masks.png
  mmgrad-explain data masks cirr datasets/CIRR --masks difference --masks segments --split val
  mmgrad-explain data masks jsonl my-triplets --masks given --masks difference --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "masks", help="make masks for a benchmark, to train with the grounding loss", details=_DETAILS,
        description="Make masks for a composed-retrieval set, without annotators.",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="its format, such as cirr (`data check --help` lists them)")
    parser.add_argument("root", metavar="ROOT", help="its folder")
    parser.add_argument(
        "--masks", action="append", required=True, metavar="HOW", help="how to make them, may be repeated"
    )
    parser.add_argument(
        "--split", action="append", default=[], metavar="SPLIT", help="only this split, may be repeated"
    )
    parser.add_argument(
        "--category", action="append", default=[], metavar="NAME",
        help="only this category of fashioniq, may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to keep them; default ROOT/.mmgrad-masks")
    parser.add_argument("--size", type=int, default=64, metavar="N", help="rows and columns of a mask; default 64")
    parser.add_argument("--least", type=float, default=0.3, metavar="X", help="least probability or score; default 0.3")
    parser.add_argument(
        "--words", default="rule", metavar="HOW", help="how things are found in texts: rule, spacy or spacy:MODEL"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; default 1")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="where CLIPSeg runs; default cpu")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw some of them into a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the masks and report what was made and what was not."""
    settings = MaskSettings(tuple(options.masks), options.size, options.least, words=options.words)
    if not settings.makers:
        raise InputError(f"--masks {' '.join(options.masks)} makes no masks: there is nothing to do")
    if options.workers < 1:
        raise InputError(f"--workers must be at least 1, got {options.workers}")
    if options.sheet is not None:
        check_writable(options.sheet, overwrite=True)
    data = read_cir(options.name, options.root, options.split, options.category)
    from mmgrad_explain.data.masks.cache import make_masks

    with Bar() as bar:
        made = make_masks(
            data, list(data.queries), settings, options.out, workers=options.workers, device=options.device,
            progress=lambda done, of: bar.show("captions", done, of),
        )  # fmt: skip
    summary = made.summarize()
    if options.sheet is not None:
        from mmgrad_explain.data.masks.sheet import draw_mask_sheet
        from mmgrad_explain.images.saving import safe_save

        safe_save(draw_mask_sheet(data, made), options.sheet, overwrite=True)
    if options.json:
        write_json({**summary, "folder": str(made.folder)})
    else:
        show(*_lines(summary, made.folder))
    return 0


def _lines(summary: dict[str, Any], folder: Path) -> Iterator[str]:
    yield f"{summary['with a mask']} of {summary['captions']} captions have a mask, in {folder}"
    for title in ("by maker", "named by"):
        if summary[title]:
            yield f"  {title}: {', '.join(f'{name} {count}' for name, count in summary[title].items())}"
    for maker, reasons in summary["not made"].items():
        for reason, count in reasons.items():
            yield f"  {maker}: {count} without: {reason}"
