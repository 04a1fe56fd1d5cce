"""``mmgrad-explain compare``: the maps of several methods on one image, side by side with their check figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.known_names import METHODS, SCORES, SCORES_WITH_TARGET
from mmgrad_explain.cli.output_files import OutputFile, name_after, print_beside
from mmgrad_explain.cli.printing import Table, note, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.cli.typed_images import STANDARD_INPUT, open_typed_image
from mmgrad_explain.cli.typed_values import check_name, decode_text
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mmgrad_explain.explanation.comparison import Comparison

_ALL = "all"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_DETAILS = f"""\
Draws the map of each method on the picture, and checks it by running the model again:
  occlusion   correlation with how much the score changes when a place is hidden; 1 is best
  deletion    how much faster the score falls when the brightest places go first than in random order
  other text  distance to the map of an unrelated text; near 0 the map does not depend on the text
A method that refuses the model is named with its reason, below the picture and in the output; the others are drawn.

Methods: {", ".join(METHODS)}; `all` takes all that fit the model.

One picture tells of one picture: `mmgrad-explain evaluate --maps` measures methods over a data set.

Exit codes: 0 done, 1 done but a method that was named refuses the model, 2 something you can correct (one line says
what), 130 stopped by Ctrl-C.

Examples:
  mmgrad-explain compare query.jpg "make it red" --methods gradcam,layercam,hirescam
  mmgrad-explain compare dog.jpg "a dog" --methods all --model openai/clip-vit-base-patch32 --out dog.png
  mmgrad-explain compare query.jpg "make it red" --methods gradcam --layers network.neck,network.features
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare", help="draw the maps of several methods side by side", details=_DETAILS,
        description="Draw the maps of several methods side by side, with check figures.",
    )  # fmt: skip
    add = parser.add_argument
    add("image", metavar="IMAGE", help="the picture; - reads it from standard input")
    add("text", metavar="TEXT", help="what should change, or what to look for")
    add("--methods", required=True, metavar="A,B,...", help="methods of maps, with commas between, or all")
    add("--layers", metavar="A,B,...", help="layers, each with every method; A+B fuses two (default: the model's)")
    add("--model", help="bundled name, model folder or hub id (default: a bundled one, by TEXT, then by IMAGE)")
    add("--target", metavar="IMAGE", help="the result that the change should have, for scores that compare with it")
    add("--of-target", action="store_true", help="compare the maps of the target, not of IMAGE")
    add("--score", metavar="NAME", help="what the maps explain; overlay --help lists the scores (default: the model's)")
    add("--no-check", action="store_true", help="draw only; the checks take some hundred runs of the model a map")
    add("--columns", type=int, default=4, metavar="N", help="maps beside one another (default: %(default)s)")
    add("--contour", action="store_true", help="outline the brightest region")
    add("--colormap", default="turbo", metavar="NAME", help="turbo, viridis, magma, gray ... (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--out", "-o", metavar="FILE", help="the picture to write (default: IMAGE_TEXT_compared.png here)")
    add("--overwrite", action="store_true", help="replace a file that exists")
    add("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare; every option is checked before the model is loaded."""
    text = decode_text(options.text)
    if not text.strip():
        raise InputError('the text is empty: say what should change, for example "make it red"')
    methods, layers = _methods(options.methods), [] if options.layers is None else _split(options.layers)
    check_name("--score", options.score, SCORES)
    if options.target is None and (options.of_target or options.score in SCORES_WITH_TARGET):
        what = "--of-target" if options.of_target else f"--score {options.score}"
        raise InputError(f"{what} needs a target: add --target IMAGE, or leave it out")
    if options.columns < 1:
        raise InputError(f"--columns must be at least 1, got {options.columns}")
    if [options.image, options.target].count(STANDARD_INPUT) > 1:
        raise InputError("standard input (-) can be read only once")
    file = _file(options, text)
    file.check()
    image = open_typed_image(options.image)
    target = None if options.target is None else open_typed_image(options.target)

    from mmgrad_explain.judging import compare

    with Bar() as bar:
        found = compare(
            image, text, methods=methods, layers=layers, target=target, of_target=options.of_target,
            model=options.model, score=options.score, device=options.device, check=not options.no_check,
            progress=bar.show,
        )  # fmt: skip

    def save(path: Path, *, overwrite: bool) -> None:
        found.save(
            path, overwrite=overwrite, columns=options.columns, contour=options.contour, colormap=options.colormap
        )

    written = file.write(save)
    with print_beside([written]):
        if options.json:
            write_json({"text": text, "image": options.image, "file": str(written), "maps": found.records()})
        else:
            show(*_parts(found, written))
            for remark in found.notes():
                note(remark)
    return 1 if found.refused and options.methods.strip() != _ALL else 0


def _methods(names: str) -> list[str]:
    """Read the names of methods.

    Raises:
        InputError: There is none, or one is not known.
    """
    found = list(METHODS) if names.strip() == _ALL else _split(names)
    if not found:
        raise InputError(f"--methods names none: give some of {', '.join(METHODS)}")
    for name in found:
        check_name("--methods", name, METHODS)
    return found


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _file(options: argparse.Namespace, text: str) -> OutputFile:
    if options.out is None:
        name = "stdin" if options.image == STANDARD_INPUT else Path(options.image).stem
        return OutputFile.planned(Path(f"{name}_{name_after(text, 'text')}_compared.png"), options)
    path = Path(options.out).expanduser()
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--out {path} must end in .png, .jpg or .webp")
    return OutputFile.planned(path, options)


def _parts(found: Comparison, written: Path) -> Iterator[str | Table]:
    head, rows = found.rows()
    best = found.best()
    marked = [place for place, one in enumerate(found.maps) if one is best]
    yield f"maps of {found.text!r}"
    yield Table(head, rows, found.table(), numbers=range(1, len(head) - 1), marked=marked, broken=(len(head) - 1,))
    if best is not None and len(found.drawn) > 1:
        yield f"agrees best with occlusion, on this picture: {best.name}"
    yield f"written: {written}"
