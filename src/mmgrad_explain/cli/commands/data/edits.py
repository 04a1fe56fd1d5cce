"""``mmgrad-explain data edits``: triplets from photographs with object masks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.commands.data.triplet_bar import TripletBar
from mmgrad_explain.cli.cores import count_cores
from mmgrad_explain.cli.failures import resume_command
from mmgrad_explain.cli.printing import note, show
from mmgrad_explain.data.set_files import CONTACT_SHEET_FILE
from mmgrad_explain.errors import InputError, MMGradError

if TYPE_CHECKING:
    import argparse

    from mmgrad_explain.data.instances.records import InstanceSet
    from mmgrad_explain.data.set_builder import BuiltSet

_SHEET = f"triplets on {CONTACT_SHEET_FILE}, 0 for none (default: %(default)s)"

_DETAILS = """\
Edits one object of a photograph at a time, inside its mask: recolour, darken, brighten, gray, pattern, blur, remove
(inpainting), add (remove in reverse), swap (take the colour and texture of another object). The text comes from
templates and names the object unambiguously: "the dog", "the dog on the left", "the larger dog", "all the dogs". Edits
that are hardly visible are dropped. Most triplets have contrast partners: the same photograph with another text and
another place.

SOURCE is the folder of photographs. Their masks come from one of
  --annotations FILE   COCO instances (polygons or run lengths), or COCO panoptic (with --segments, if the pictures are
                       not in the folder of the same name beside FILE)
  --labels DIR         pictures of class numbers, named as the photographs; names of the classes in labels.json in or
                       beside DIR, or --names

Equal seeds and options give equal sets, with any number of --workers; a set with a smaller --count is the beginning of
a larger one. After Ctrl-C or a crash, the same command with --resume continues. manifest.json counts what was left out,
and why. Each triplet has its licence, and LICENSES.txt lists them.

Examples:
  mmgrad-explain data edits train2017/ --annotations instances_train2017.json --out edits/ --count 10000
  mmgrad-explain data edits val2017/ --annotations panoptic_val2017.json --out edits/ --kinds recolour,remove,add
  mmgrad-explain data edits photos/ --labels labels/ --ignore skin --out clothes/ --count 2000 --seed 1
  mmgrad-explain data edits photos/ --labels labels/ --out clothes/ --count 5000 --seed 1 --resume
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    from mmgrad_explain.data.edits.options import EDIT_KINDS, EditOptions

    default = EditOptions()
    parser = commands.add_parser(
        "edits", help="edit photographs that have object masks", details=_DETAILS,
        description="Make triplets with exact masks by editing objects of photographs.",
    )  # fmt: skip
    add = parser.add_argument
    add("source", metavar="SOURCE", type=Path, help="folder of photographs")
    add("--annotations", metavar="FILE", type=Path, help="COCO JSON: instances or panoptic")
    add("--segments", metavar="DIR", type=Path, help="pictures of a panoptic JSON (default: its path without .json)")
    add("--labels", metavar="DIR", type=Path, help="folder of index masks")
    add("--names", metavar="FILE", type=Path, help="class names of index masks (default: labels.json in or beside DIR)")
    add(
        "--objects",
        choices=("class", "components"),
        default="class",
        help="what one object is in index masks: all of a class, or each connected part (default: %(default)s)",
    )
    add("--ignore", action="append", default=[], metavar="CLASS", help="never edit this class, may be repeated")
    add("--out", "-o", required=True, metavar="DIR", type=Path, help="folder to build the set in")
    add("--overwrite", action="store_true", help="replace a set that exists")
    add("--resume", action="store_true", help="continue a set, or make it larger")
    add("--count", type=int, metavar="N", help="stop at this many triplets (default: use every photograph)")
    add("--seed", type=int, default=default.seed, metavar="N", help="decides everything (default: %(default)s)")
    add("--size", type=int, default=default.size, metavar="PX", help="longest side of pictures (default: %(default)s)")
    add(
        "--edits-per-image",
        type=int,
        default=default.edits_per_image,
        metavar="N",
        help="most triplets of a photograph (default: %(default)s)",
    )
    add("--kinds", metavar="A,B,...", help=f"which edits (default: all of them: {', '.join(EDIT_KINDS)})")
    add(
        "--min-area",
        type=float,
        default=default.min_area,
        metavar="X",
        help="smallest object, as a share of the picture (default: %(default)s)",
    )
    add(
        "--max-area",
        type=float,
        default=default.max_area,
        metavar="X",
        help="largest object, likewise (default: %(default)s)",
    )
    add(
        "--min-change",
        type=float,
        default=default.min_change,
        metavar="X",
        help="least mean colour difference of an edit, CIE76 (default: %(default)s)",
    )
    add("--split", type=int, default=5, metavar="N", help="deal photographs into N folds (default: %(default)s)")
    add("--format", choices=("jpg", "png"), default="jpg", help="of the pictures; masks are PNG (default: %(default)s)")
    add("--license", metavar="TEXT", help="licence of photographs whose data set does not say")
    add("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add("--sheet", type=int, default=24, metavar="N", help=_SHEET)
    add("--json", action="store_true", help="print the manifest as JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the set; every option is checked before anything is written."""
    from mmgrad_explain.data.edits.options import EDIT_KINDS, EditOptions, OutputOptions

    if options.sheet < 0:
        raise InputError(f"--sheet must not be negative, got {options.sheet}")
    if options.overwrite and options.resume:
        raise InputError("--overwrite and --resume exclude each other")
    kinds = EDIT_KINDS if options.kinds is None else tuple(k.strip() for k in options.kinds.split(",") if k.strip())
    plan = EditOptions(
        seed=options.seed, size=options.size, edits_per_image=options.edits_per_image, kinds=kinds,
        min_area=options.min_area, max_area=options.max_area, min_change=options.min_change,
    )  # fmt: skip
    output = OutputOptions(format=options.format, folds=options.split, licence=options.license or "")
    source = _source(options)

    from mmgrad_explain.data.edits.build import build_edits

    workers = count_cores() if options.workers is None else options.workers
    try:
        with TripletBar(options.count) as bar:
            built = build_edits(
                source, options.out, plan, output=output, count=options.count, workers=workers,
                overwrite=options.overwrite, resume=options.resume, progress=bar,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        raise type(stop)(f"go on with: {resume_command(options.typed)}") from None
    sheet = _sheet(built, options.sheet)
    if options.json:
        sys.stdout.write(json.dumps({"folder": str(built.folder), "sheet": sheet, **built.manifest}, indent=2) + "\n")
    else:
        show(_text(built, sheet))
    return 0


def _source(options: argparse.Namespace) -> InstanceSet:
    from mmgrad_explain.data.instances.readers import read_coco, read_index_masks

    if (options.annotations is None) == (options.labels is None):
        raise InputError("say where the masks are: either --annotations FILE (COCO) or --labels DIR (index masks)")
    if not options.source.is_dir():
        raise InputError(f"SOURCE {options.source} is not a folder of photographs")
    if options.annotations is not None:
        return read_coco(options.source, options.annotations, segments=options.segments, ignore=options.ignore)
    return read_index_masks(
        options.source, options.labels, names=options.names, ignore=options.ignore, objects=options.objects
    )


def _sheet(built: BuiltSet, count: int) -> str | None:
    """Draw the contact sheet; the set is finished before, and is kept if this fails."""
    if count == 0:
        return None
    from mmgrad_explain.data.contact_sheet import choose_evenly, draw_contact_sheet
    from mmgrad_explain.data.triplets import read_triplets
    from mmgrad_explain.images.saving import safe_save

    file = built.folder / CONTACT_SHEET_FILE
    try:
        safe_save(draw_contact_sheet(choose_evenly(read_triplets(built.folder), count)), file, overwrite=True)
    except MMGradError as error:
        note(f"no contact sheet: {error}")
        return None
    return str(file)


def _text(built: BuiltSet, sheet: str | None) -> str:
    manifest = built.manifest
    photographs = manifest["photographs"]
    tried = f"{photographs['tried']} tried, {photographs['in the data set']} in the data set"
    lines = [
        str(built.folder),
        f"  triplets     {manifest['count']} from {photographs['used']} photographs ({tried})",
        "  edits        " + _listed(manifest["edits"]),
        f"  contrast     {manifest['with contrast partners']} triplets have partners with another text and place",
    ]
    if manifest["asked"] is not None and manifest["count"] < manifest["asked"]:
        lines.append(
            f"  note         {manifest['asked']} were asked for; the data set gives no more with these options"
        )
    if manifest["skipped"]:
        lines.append("  left out     " + _listed(manifest["skipped"]))
    lines += [
        f"  problem      {what}: {found['count']}, first {found['first'][0]}"
        for what, found in manifest["problems"].items()
    ]
    lines.append("  licences     " + _listed(manifest["licences"]))
    if sheet is not None:
        lines.append(f"  look at      {sheet}")
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
