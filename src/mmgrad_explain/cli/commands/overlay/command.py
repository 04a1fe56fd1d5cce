"""``mmgrad-explain overlay``: images with maps of where a model looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.commands.overlay.request import FORMATS, read_request
from mmgrad_explain.cli.known_names import METHODS, SCORE_HELP, WORD_WAYS

if TYPE_CHECKING:
    import argparse

_SCORES = "\n".join(f"  {name:<14}  {what}" for name, what in SCORE_HELP.items())
_METHODS = ", ".join(METHODS)
_DETAILS = f"""\
The picture shows the reference beside its heat map; with --target the target and its map too. A map shows which places
of the picture the score depends on, through the chosen layer. It does not show that the model is right.

TEXT says what should change (composers), or what to look for (image-text models). Scores; each model has a default:
{_SCORES}

Methods: {_METHODS}; each model has a default.

--words adds what the score loses when TEXT is read without a word: from -1 to 1, the largest magnitude being 1. Orange
and + raise the score, blue and - lower it. The values do not add up to the score. Words of a TEXT of more than 32 words
have values by the gradient (gradient x input at the embedding), which says little of what happens without a word;
--words-by names one of both ways for any TEXT: {", ".join(WORD_WAYS)}.

--in-words explains below the figures, without technical terms, what the map means and what it does not mean.

--check finds out how far each map can be trusted: how well it agrees with hiding parts of the picture one after the
other, whether the score falls faster without its bright places than in random order, and whether it changes with the
text. A map that fails is drawn with a mark, as is one that comes with a warning. The model runs about a hundred times.

Every picture says in its own file what it shows: text, model, layer, method, score, notes and check
(mmgrad_explain.images.read_provenance reads that).

--phrases explains each phrase of TEXT as a text by itself, and draws the maps side by side after that of TEXT. The
model reads a phrase without the rest of its sentence, so the map may differ from what the phrase contributes there.

--answer-part, given more than once, draws the maps of the answer and of each part side by side, from one forward.

Pictures that cannot be used are named and left out; the others are drawn.

Exit codes: 0 done, 1 done but some pictures cannot be used, 2 something you can correct (one line says what), 130
stopped by Ctrl-C.

Examples:
  mmgrad-explain overlay query.jpg "make it red"
  mmgrad-explain overlay query.jpg "remove the star" --target target.jpg --contour --out where.png
  mmgrad-explain overlay a.jpg b.jpg c.jpg "make it larger" --out maps/
  mmgrad-explain overlay query.jpg "make the large circle red" --words
  mmgrad-explain overlay query.jpg "make it red" --in-words
  mmgrad-explain overlay query.jpg "make it red" --check
  mmgrad-explain overlay dog.jpg "What is on the sofa?" --model ./my-llava --answer "a dog"
  mmgrad-explain overlay dog.jpg "What?" --model ./my-llava --answer "a dog" --answer-part a --answer-part dog
  cat query.jpg | mmgrad-explain overlay - "make it red" --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "overlay", help="draw where the model looks because of a text", details=_DETAILS,
        description="Draw where a model looks in a picture because of a text.",
    )  # fmt: skip
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="one picture or several; - reads one from standard input")
    add("text", metavar="TEXT", help='what should change, for example "make it red"')
    add("--target", metavar="IMAGE", help="the result that the change should have; gets a map too")
    add("--out", "-o", metavar="PATH", help="file to write, or folder for several (default: IMAGE_TEXT.png here)")
    add("--overwrite", action="store_true", help="replace a file that exists")
    add("--model", help="bundled name, model folder or hub id (default: a bundled one, by TEXT, then by IMAGE)")
    add(
        "--layer",
        action="append",
        metavar="NAME",
        help="layer to explain, may be repeated (see: mmgrad-explain layers)",
    )
    add("--score", metavar="NAME", help="what the map explains; --help lists the scores (default: the model's)")
    add(
        "--method",
        "--weighting",
        metavar="NAME",
        help="how the map is made; --help lists the methods (default: the model's)",
    )
    add("--calibration", metavar="FILE", help="layer and method by a file of `mmgrad-explain calibrate`")
    add(
        "--alpha",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="opacity of the heat map, 0 to 1 (default: %(default)s)",
    )
    add(
        "--threshold",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="draw no colours where the map is below this share of its maximum (default: 0)",
    )
    add(
        "--colormap",
        default="turbo",
        metavar="NAME",
        help="turbo, jet, viridis, magma, gray ... (default: %(default)s)",
    )
    add(
        "--answer",
        metavar="ANSWER",
        help="an answer of a model that answers in words (default: the model's own answer)",
    )
    add(
        "--answer-part", action="append", default=[], metavar="PART",
        help="explain only this part of the answer, for example one word; repeated, a map of each part",
    )  # fmt: skip
    add("--words", action="store_true", help="show what each word of TEXT contributes, below the picture and as text")
    add(
        "--words-by", choices=WORD_WAYS,
        help="how: the score without the word, or gradient x input (default: the first, up to 32 words)",
    )  # fmt: skip
    add("--in-words", action="store_true", help="explain in plain words what the map means, and what it does not")
    add("--check", action="store_true", help="find out how far each map can be trusted; one that fails is marked")
    add("--phrases", action="store_true", help="draw a map of each phrase of TEXT beside that of TEXT")
    add("--contour", action="store_true", help="outline the brightest region")
    add("--format", choices=FORMATS, help="png, jpg, or npz with the maps as arrays (default: by --out, else png)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the maps; every option is checked before anything is written."""
    from mmgrad_explain.cli.commands.overlay.drawing import draw_all
    from mmgrad_explain.cli.commands.overlay.report import print_report

    request = read_request(options)
    drawn = draw_all(request)
    print_report(drawn, request)
    return 1 if drawn.failed else 0
