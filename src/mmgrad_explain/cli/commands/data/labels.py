"""``mmgrad-explain data labels``: label photographs by a trained segmentation network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse

_DETAILS = """\
FOLDER holds photos/NAME.jpg. Each gets labels/NAME.png, whose values index the names in labels.json; 255 is unknown.
That is the folder that the training sources `photos` and `objects` take. Photographs that have labels keep them, so a
stopped command continues. Where FOLDER/tags.json gives a photograph's NAME a list of what it shows, no other class is
looked for in it.

The network is DeepLab v3 on MobileNetV2; --names is a text file of its classes in their order, a line each.

Examples:
  mmgrad-explain data labels street/ --trunk deeplab.safetensors --head head.safetensors --names voc.txt
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "labels", help="label photographs by a trained segmentation network", details=_DETAILS,
        description="Label the pixels of photographs by a trained segmentation network, to train on them.",
    )  # fmt: skip
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder with photos/")
    add("--trunk", required=True, metavar="FILE", help="weights of mobilenetv2_100, safetensors with timm's names")
    add("--head", required=True, metavar="FILE", help="weights of the segmentation head, safetensors")
    add("--names", required=True, metavar="FILE", help="names of the classes, the background first")
    add("--size", type=int, default=513, metavar="PIXELS", help="side that it sees them at (default: %(default)s)")
    add("--sure", type=float, default=0.6, metavar="SHARE", help="least probability of a label (default: %(default)s)")
    add("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Label the folder and say what was found."""
    from mmgrad_explain._system.user_files import reading
    from mmgrad_explain.training.photo_labels import PhotoLabeller, label_folder

    if options.size < 32 or not 0 <= options.sure <= 1:
        raise InputError("--size must be at least 32 pixels, --sure a probability, 0 to 1")
    with reading(f"{options.names} cannot be read"):
        lines = Path(options.names).expanduser().read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    labeller = PhotoLabeller(options.trunk, options.head, len(names), size=options.size, sure=options.sure)
    with Bar() as bar:
        found = label_folder(Path(options.folder).expanduser(), names, labeller, bar.show)
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        print("\n".join(f"  {name:<14} in {count} photographs" for name, count in found.items()))
    return 0
