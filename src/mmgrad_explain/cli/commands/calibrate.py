"""``mmgrad-explain calibrate``: find the layer and method whose maps agree best with occlusion."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.known_names import METHODS, SCORES, SCORES_WITH_TARGET
from mmgrad_explain.cli.output_files import OutputFile
from mmgrad_explain.cli.typed_images import open_typed_image
from mmgrad_explain.cli.typed_values import check_name, decode_text
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse

REFERENCES = ("occlusion", "rise")
_DETAILS = """\
No mask is needed: for each picture the maps of many layers and methods are compared with what happens to the model's
score when parts of the picture are hidden. Give 8 to 64 pictures of the kind that you will ask about, with one TEXT for
all of them; or a file of lines such as {"image": "a.jpg", "text": "a red car"}, whose name ends in .jsonl (paths count
from its folder).

The file that is written says which layer and method agree best; `overlay --calibration FILE` uses it. As
calibration.json in the folder of the model it is used by everything that loads the model from there. It belongs to this
model with these weights, and is refused for others.

If no map agrees better than maps that know nothing, the command says so ("beats_floors": false in the file): then take
--method occlusion, which is slow and makes no use of gradients.

Examples:
  mmgrad-explain calibrate photos/*.jpg "a dog" --model ./my-model --out my-model/calibration.json
  mmgrad-explain calibrate pairs.jsonl --model ./my-model --methods layercam,hirescam,legrad --out calibration.json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "calibrate", help="find the layer and method whose maps agree best with occlusion", details=_DETAILS,
        description="Rank the layers and methods of a model by agreement with occlusion, on your own pictures.",
    )  # fmt: skip
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="8 to 64 pictures, then one TEXT; or one file of pairs, FILE.jsonl")
    add("--model", required=True, help="bundled name, model folder or hub id")
    add("--out", "-o", metavar="FILE", help="file to write (default: calibration.json here)")
    add("--overwrite", action="store_true", help="replace a file that exists")
    add("--methods", metavar="A,B", help="methods to compare (default: all that fit the model)")
    add("--layer", action="append", metavar="NAME", help="layer to compare, may be repeated (default: up to eight)")
    add("--score", metavar="NAME", help="what the maps explain (default: the model's)")
    add("--reference", choices=REFERENCES, default=REFERENCES[0], help="what is compared with (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Calibrate; every option is checked before a model is loaded."""
    check_name("--score", options.score, SCORES)
    if options.score in SCORES_WITH_TARGET:
        raise InputError(f"--score {options.score} compares with a target, which a calibration does not have")
    methods = options.methods and [name.strip() for name in options.methods.split(",")]
    for name in methods or ():
        check_name("--methods", name, METHODS)
    pairs = _read_pairs(options.images)
    file = OutputFile.planned(Path(options.out or "calibration.json").expanduser(), options)
    file.check()

    from mmgrad_explain._system.devices import check_device
    from mmgrad_explain.attention.calibration.search import FEWEST, MOST, calibrate
    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
    from mmgrad_explain.composers.load import load_composer

    if not FEWEST <= len(pairs) <= MOST:
        raise InputError(f"give {FEWEST} to {MOST} pictures, not {len(pairs)}: fewer say too little, more take long")
    composer = load_composer(options.model)
    composer.calibration = None
    if options.device is not None:
        composer.to(check_device(options.device))
    calls = _prepare(composer, pairs)
    mmgrad = MultiModalGradAttention(composer, score=options.score)
    found = calibrate(mmgrad, calls, methods=methods, layers=options.layer, reference=options.reference)
    written = file.write(found.save)
    if options.json:
        sys.stdout.write(json.dumps({**found.to_dict(), "file": str(written)}, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{found.table()}\n\n{written}\n")
    return 0


def _prepare(composer: Any, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Turn images and texts into the arguments of the model, one call each."""
    from mmgrad_explain._system.devices import device_of

    place = device_of(composer)
    inputs = [composer.preprocess([open_typed_image(image)], [text]) for image, text in pairs]
    return [{name: tensor.to(place) for name, tensor in of_pair.tensors.items()} for of_pair in inputs]


def _read_pairs(typed: list[str]) -> list[tuple[str, str]]:
    """Return the images with their texts, as they were typed or from a file of lines."""
    if typed[0].endswith(".jsonl"):
        if len(typed) > 1:
            raise InputError(f"{typed[0]} holds pictures and texts: leave the other arguments out")
        return _read_lines(Path(typed[0]).expanduser())
    if len(typed) < 2:
        raise InputError("give pictures and, after them, one TEXT; or a file of pairs whose name ends in .jsonl")
    text = decode_text(typed[-1])
    if not text.strip():
        raise InputError("the text is empty: say what the pictures show, or what should change")
    return [(image, text) for image in typed[:-1]]


def _read_lines(path: Path) -> list[tuple[str, str]]:
    from mmgrad_explain._system.user_files import parse_json, read_text

    try:
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row: Any = parse_json(line, f"{path}, line {number}")
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("image", "text")):
            raise InputError(f'{path}, line {number}: each line is {{"image": FILE, "text": TEXT}}')
        pairs.append((str(path.parent / row["image"]), row["text"]))
    return pairs
