"""``mmgrad-explain data scenes``: build triplet sets of generated scenes."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.commands.data.triplet_bar import TripletBar
from mmgrad_explain.cli.cores import count_cores
from mmgrad_explain.cli.failures import resume_command
from mmgrad_explain.cli.printing import show
from mmgrad_explain.data.set_files import CONTACT_SHEET_FILE
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import argparse


_RELATIONS = 'how often a text names an object by another ("the star left of the ring"), 0 to 1 (default: %(default)s)'
_PLACES = 'how often a text names it by its side ("the left star"), 0 to 1 (default: %(default)s)'

_SHEET = f"triplets on {CONTACT_SHEET_FILE}, 0 for none (default: %(default)s)"

_DETAILS = """\
A scene is a background with one to six coloured shapes; each of its triplets describes one edit: recolour, reshape,
resize, remove, move, add, swap. Objects are named by colour, shape, size, side or by another object ("the small star",
"the circle left of the red square"), sometimes two at once. Masks are exact.

The folder gets triplets.jsonl, references/, targets/, masks/, manifest.json and contact_sheet.png. In a record "mask"
is the place in the reference (for add: where the object will be), "target_mask" the place in the target. With --format
npy some scenes at a time share a file in each folder, uncompressed: the same pictures, written and read faster;
"references/0000025.npy#3" is the fourth picture of a file.

Equal seeds and options give equal sets, with any number of workers; a smaller set is the beginning of a larger one.
Eight shape-colour pairs and some sentence templates occur only on request, so that a model trained on these scenes can
be tested on what it has not seen: --pairs held-out, --templates held-out, --objects 7-10, --backdrops, or more often:
--relations, --places.

Examples:
  mmgrad-explain data scenes --out scenes --count 4000 --workers 2
  mmgrad-explain data scenes --out scenes --count 8000 --workers 2 --resume
  mmgrad-explain data scenes --out large --count 1000000 --size 64 --format npy --workers 8
  mmgrad-explain data scenes --out unseen --count 1000 --seed 1 --pairs held-out --sheet 24
  mmgrad-explain data scenes --out on-photos --count 1000 --seed 1 --backdrops photos/ --format jpg
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "scenes", help="draw scenes of coloured shapes and edits of them", details=_DETAILS,
        description="Make a composed-retrieval set of generated scenes, with exact masks.",
    )  # fmt: skip
    add = parser.add_argument
    add("--out", "-o", required=True, metavar="DIR", help="folder of the set")
    add("--count", type=int, default=1000, metavar="N", help="number of triplets (default: %(default)s)")
    add("--size", type=int, default=96, metavar="PIXELS", help="side of the pictures, 32 to 512 (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="equal seeds give equal sets (default: %(default)s)")
    add("--edits", type=int, default=4, metavar="N", help="triplets of each scene, 1 to 16 (default: %(default)s)")
    add(
        "--pairs",
        choices=("training", "held-out", "all"),
        default="training",
        help="which colours of which shapes (default: %(default)s)",
    )
    add(
        "--templates",
        choices=("training", "held-out"),
        default="training",
        help="which sentences (default: %(default)s)",
    )
    add("--objects", default="1-6", metavar="LOW-HIGH", help="objects of a scene, 1 to 12 (default: %(default)s)")
    add("--backdrops", metavar="DIR", help="folder of pictures to lay the shapes on (default: drawn backgrounds)")
    add("--relations", type=float, default=0.12, metavar="SHARE", help=_RELATIONS)
    add("--places", type=float, default=0.3, metavar="SHARE", help=_PLACES)
    add("--format", choices=("png", "jpg", "npy"), default="png", help="of the pictures (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add("--sheet", type=int, default=24, metavar="N", help=_SHEET)
    add("--resume", action="store_true", help="continue an unfinished set, or make it larger")
    add("--overwrite", action="store_true", help="replace a set that exists")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the set."""
    from mmgrad_explain.data.scenes.build import build_scenes
    from mmgrad_explain.data.scenes.set_options import SceneSetOptions

    if options.resume and options.overwrite:
        raise InputError("--overwrite and --resume exclude each other")
    if options.sheet < 0:
        raise InputError(f"--sheet must not be negative, got {options.sheet}")
    chosen = SceneSetOptions(
        seed=options.seed, size=options.size, edits=options.edits, format=options.format, pairs=options.pairs,
        templates=options.templates, objects=_range(options.objects), backdrops=_pictures(options.backdrops),
        relations=options.relations, places=options.places,
    )  # fmt: skip
    workers = count_cores() if options.workers is None else options.workers
    began = time.perf_counter()
    try:
        with TripletBar(options.count) as bar:
            built = build_scenes(
                Path(options.out).expanduser(), options.count, chosen, workers=workers, overwrite=options.overwrite,
                resume=options.resume, progress=bar,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        raise type(stop)(f"go on with: {resume_command(options.typed)}") from None
    seconds = time.perf_counter() - began
    sheet = None
    if options.sheet:
        from mmgrad_explain.data.contact_sheet import choose_evenly, draw_contact_sheet
        from mmgrad_explain.data.triplets import read_triplets
        from mmgrad_explain.images.saving import safe_save

        sheet = built.folder / CONTACT_SHEET_FILE
        safe_save(draw_contact_sheet(choose_evenly(read_triplets(built.folder), options.sheet)), sheet, overwrite=True)
    rate, each, drawn = (built.made / max(spent, 1e-9) for spent in (seconds, built.working, built.drawing))
    result = {
        "folder": str(built.folder),
        "triplets": built.manifest["count"],
        "made": built.made,
        "seconds": round(seconds, 3),
        "triplets_per_second": round(rate, 1),
        "cpu_seconds": round(built.working, 3),
        "triplets_per_cpu_second": round(each, 1),
        "drawn_per_second": round(drawn * workers, 1),
        "sheet": None if sheet is None else str(sheet),
        **{key: built.manifest[key] for key in ("scenes", "edits", "named by", "with contrast partners")},
    }
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return 0
    speed = f"{rate:.0f} triplets/s (a CPU second makes {each:.0f}, drawing alone {drawn:.0f})"
    lines = [
        str(built.folder),
        f"  triplets  {result['triplets']} of {result['scenes']} scenes",
        f"  edits     {', '.join(f'{kind} {count}' for kind, count in built.manifest['edits'].items())}",
        f"  made      {built.made} in {seconds:.1f} s, {speed}",
        *([] if sheet is None else [f"  sheet     {sheet}"]),
    ]
    show("\n".join(lines))
    return 0


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not found:
        raise InputError(f"--objects must look like 1-6 or 8, got {text!r}")
    return int(found[1]), int(found[2] or found[1])


def _pictures(folder: str | None) -> tuple[str, ...]:
    if folder is None:
        return ()
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(f"--backdrops {folder} is not a folder")
    files = tuple(str(file) for file in sorted(path.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"--backdrops {folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return files
