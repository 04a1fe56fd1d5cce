"""``mmgrad-explain overlay``: pictures of where the model looks."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmgrad_explain._system.reading import read_stream
from mmgrad_explain.cli.commands.overlay_batches import draw_all
from mmgrad_explain.cli.commands.overlay_results import region_of, result_of, text_of
from mmgrad_explain.cli.names import SCORE_HELP, SCORES, WEIGHTINGS, WITH_TARGET, check_name
from mmgrad_explain.cli.output_paths import check_place, is_numbered, put, saying_beside
from mmgrad_explain.cli.printing import complain, note, show
from mmgrad_explain.cli.streams import as_sentence, write_json
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import join_notes, texts_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from PIL import Image

    from mmgrad_explain.cli.commands.overlay_batches import Draw, Job, Write
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.notes import Note

    Hear: TypeAlias = Callable[[Explanation, int, str], None]

FORMATS = ("png", "jpg", "npz")

_SCORE_LINES = "\n".join(f"  {name:<15} {text}" for name, text in SCORE_HELP.items())
_DETAILS = f"""\
The picture shows the reference beside its heat map; with --target the target and its map too. A map says which places
of the picture the score depends on, through the chosen layer. It does not say that the model is right.

TEXT says what should change (composers), or what to look for (image-text models). Scores; a model has its own default:
{_SCORE_LINES}

Weightings: {WEIGHTINGS[0]} (default), {", ".join(WEIGHTINGS[1:])}.

--words adds what each word contributes to the score (gradient x input at its embedding): from -1 to 1, the largest
magnitude being 1. Orange and + raise the score, blue and - lower it. The values are first-order and do not add up to
the score.

--in-words says below the figures what the map means, for somebody who knows nothing of gradients, and what it does not.

--phrases explains each phrase of TEXT as a text by itself and draws the maps side by side, TEXT's own first: which
region each phrase lights. A phrase alone is another question than the phrase in its sentence.

--answer-part, given more than once, draws the answer's map and that of each part side by side, from one forward.

Of several pictures, those that cannot be used are named and left out, and the others are drawn.

Exit codes: 0 done, 1 done but some pictures cannot be used, 2 something you can put right (one line says what), 130
stopped by Ctrl-C.

Examples:
  mmgrad-explain overlay query.jpg "make it red"
  mmgrad-explain overlay query.jpg "remove the star" --target target.jpg --contour --out where.png
  mmgrad-explain overlay a.jpg b.jpg c.jpg "make it larger" --out maps/
  mmgrad-explain overlay query.jpg "make the large circle red" --words
  mmgrad-explain overlay query.jpg "make it red" --in-words
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
    add("--target", metavar="IMAGE", help="the picture the change should lead to; gets a map too")
    add("--out", "-o", metavar="PATH", help="file to write, or folder for several (default: IMAGE_TEXT.png here)")
    add("--overwrite", action="store_true", help="replace a file that is there already")
    add("--model", help="bundled name, model folder or hub id (default: a bundled one, by IMAGE, then by TEXT)")
    add(
        "--layer",
        action="append",
        metavar="NAME",
        help="layer to explain, may be repeated (see: mmgrad-explain layers)",
    )
    add("--score", metavar="NAME", help="what the map is of; --help lists the scores (default: the model's own)")
    add(
        "--weighting",
        default="gradcam",
        metavar="NAME",
        help="how gradients weigh activations; --help lists them (default: %(default)s)",
    )
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
        help="leave the picture as it is where the map is below this share of its brightest point (default: 0)",
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
        help="what a model that answers in words might say (default: what it says itself)",
    )
    add(
        "--answer-part", action="append", default=[], metavar="PART",
        help="only this part of the answer counts, for example one word; repeated, a map of each part",
    )  # fmt: skip
    add("--words", action="store_true", help="say what each word of TEXT contributes, below the picture and as text")
    add("--in-words", action="store_true", help="say in plain words what the map means, and what it does not")
    add("--phrases", action="store_true", help="draw a map of each phrase of TEXT beside the whole one's")
    add("--contour", action="store_true", help="outline the brightest region")
    add("--format", choices=FORMATS, help="png, jpg, or npz with the maps as arrays (default: by --out, else png)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the maps; every input is checked before anything is written."""
    from mmgrad_explain.images.reading import open_image

    options.text, options.answer = as_sentence(options.text), options.answer and as_sentence(options.answer)
    options.answer_part = [as_sentence(part) for part in options.answer_part]
    if not options.text.strip():
        raise InputError('the text is empty: say what should change, for example "make it red"')
    _check_options(options)
    if options.images.count("-") + (options.target == "-") > 1:
        raise InputError("standard input (-) can be read only once")
    several = _several(options)
    names = [Path(name).stem if name != "-" else "stdin" for name in options.images]
    target = None if options.target is None else open_image(_source(options.target))
    files = _outputs(options, names)
    for name in options.images:
        if name != "-" and not os.path.lexists(name):
            open_image(name)  # says that there is no such file

    chosen: list[str | None] = []  # why the model answers

    def prepare(jobs: list[Job]) -> tuple[Draw, bool]:
        from mmgrad_explain.composers.generative.composer import GenerativeComposer  # torch is needed from here on

        composer, why = _answering(options, [job.image for job in jobs])
        chosen.append(why)
        # Models that answer in words are large, and there pictures keep their shapes.
        alone = bool(several) or isinstance(composer, GenerativeComposer)
        return partial(_phrases if several else _maps, composer, target, options, hear), alone

    drawn: list[str] = []
    notes: list[Note] = []  # each of one of the pictures

    def hear(explanation: Explanation, index: int, name: str) -> None:
        notes.extend(replace(one, samples=(len(drawn),)) for one in explanation.notes_of(index))
        drawn.append(name)

    jobs = list(zip(options.images, files, strict=True))
    results, failed = draw_all(jobs, lambda name: open_image(_source(name)), prepare)
    results = [{**result, "model_choice": chosen[0]} for result in results]
    for remark in join_notes(notes, len(options.images)):
        note(remark.named(drawn))
    for name, error in failed.items():
        complain(f"{name} is left out", str(error))
    with saying_beside(files):
        if options.json:
            write_json(results)
        else:
            show(*map(text_of, results))
    return 1 if failed else 0


def _several(options: argparse.Namespace) -> str:
    """The option that asks for several maps of each picture; empty where none does."""
    several = "--phrases" if options.phrases else "--answer-part, repeated," if len(options.answer_part) > 1 else ""
    if several and (options.target is not None or options.words or options.format == "npz"):
        raise InputError(f"{several} draws pictures of one picture: it goes without --target, --words and --format npz")
    if options.phrases and len(options.answer_part) > 1:
        raise InputError("--phrases and several --answer-part are two questions: ask one of them")
    return several


def _answering(options: argparse.Namespace, images: list[Image.Image]) -> tuple[Composer, str | None]:
    """The model, and why it answers where it was chosen for the first pictures and the text."""
    from mmgrad_explain.composers.bundled import choose_bundled
    from mmgrad_explain.composers.load import load_composer

    if options.model is not None:
        return load_composer(options.model), None
    choice = choose_bundled(images, [options.text])
    return choice.composer, choice.why


def _maps(
    composer: Composer, target: Image.Image | None, options: argparse.Namespace, hear: Hear, jobs: list[Job]
) -> Write:
    """Draw the maps of some pictures."""
    from mmgrad_explain.api import explain

    explanation = explain(
        [job.image for job in jobs], options.text, target=target, model=composer, layer=options.layer,
        score=options.score, weighting=options.weighting, device=options.device, words=options.words,
        answer=options.answer, answer_part=next(iter(options.answer_part), None),
    )  # fmt: skip

    def write() -> list[dict[str, Any]]:
        results = []
        for index, job in enumerate(jobs):
            file = _write(explanation, index, job.file, options)
            results.append(result_of(explanation, index, file, job.name, options))
            hear(explanation, index, job.name)
        return results

    return write


def _check_options(options: argparse.Namespace) -> None:
    """What would otherwise be found out after the model is loaded."""
    if not 0 <= options.alpha <= 1:
        raise InputError(f"--alpha must be between 0 and 1, got {options.alpha}")
    if not 0 <= options.threshold < 1:
        raise InputError(f"--threshold must be at least 0 and below 1, got {options.threshold}")
    check_name("--score", options.score, SCORES)
    check_name("--weighting", options.weighting, WEIGHTINGS)
    if options.score in WITH_TARGET and options.target is None:
        raise InputError(f"--score {options.score} compares with a target: add --target IMAGE, or leave --score out")
    for name in options.images if len(options.images) > 1 else ():
        if name != "-" and not Path(name).suffix and not Path(name).expanduser().exists():
            raise InputError(f"no such file: {name}: put quotes around a text of several words")


def _phrases(composer: Composer, _target: object, options: argparse.Namespace, _hear: Hear, jobs: list[Job]) -> Write:
    """Draw the map of a picture's text and of each of its phrases; or of an answer and of each of some parts."""
    from mmgrad_explain.api import answer_maps, phrase_maps

    ((name, planned, image),) = jobs
    kind = "phrase" if options.phrases else "part"
    draw = partial(phrase_maps, answer_part=next(iter(options.answer_part), None))
    found = (draw if options.phrases else partial(answer_maps, parts=options.answer_part))(
        image, options.text, model=composer, layer=options.layer, score=options.score, weighting=options.weighting,
        device=options.device, answer=options.answer,
    )  # fmt: skip
    phrases = [
        {
            kind: phrase,
            "score": float(found.explanation.score[index]),
            "brightest_region": region_of(found.explanation, index),
            "notes": texts_of(found.explanation.notes_of(index)),
        }
        for index, phrase in enumerate(found.phrases, start=1)
    ]

    def write() -> list[dict[str, Any]]:
        picture = found.overlay(**_colours(options))
        file = put(planned, options, lambda free: _save(picture, free, options))
        parts = [json.dumps(part, ensure_ascii=False) for part in (found.text, *found.phrases)]
        for remark in found.explanation.notes:
            note(f"{name}: {remark.named(parts)}" if len(options.images) > 1 else remark.named(parts))
        return [{**result_of(found.explanation, 0, file, name, options), f"{kind}s": phrases}]

    return write


def _source(name: str) -> str | bytes:
    if name != "-":
        return name
    from mmgrad_explain.images.reading import MAX_PIXELS, most_bytes

    data = read_stream(sys.stdin.buffer, "standard input", most_bytes(MAX_PIXELS))
    if not data:
        raise InputError("standard input is empty: pipe a picture into it, or name a file instead of -")
    return data


def _outputs(options: argparse.Namespace, names: list[str]) -> list[Path]:
    """Where each result goes; refuses what exists or cannot be written, before any work is done."""
    out = None if options.out is None else Path(options.out).expanduser()
    kind = options.format
    many = len(names) > 1 or (out is not None and (out.is_dir() or str(options.out).endswith("/")))
    if out is not None and not many:
        suffix = out.suffix.lower().lstrip(".").replace("jpeg", "jpg")
        if kind is None and suffix not in FORMATS:
            raise InputError(f"--out {out} must end in .png, .jpg or .npz, or say --format")
        if kind is not None and suffix in FORMATS and suffix != kind:
            raise InputError(f"--out {out} and --format {kind} disagree")
        files = [out]
    else:
        words = re.sub(r"[^a-z0-9]+", "-", options.text.lower()).strip("-")[:40].strip("-") or "map"
        folder = out or Path()
        taken: set[Path] = set()
        files = []
        for name in names:
            file = folder / f"{name}_{words}.{kind or 'png'}"
            number = 2
            while file in taken and not is_numbered(options):
                file = folder / f"{name}_{words}-{number}.{kind or 'png'}"
                number += 1
            taken.add(file)
            files.append(file)
    for file in files:
        check_place(file, options)
    return files


def _save(picture: Image.Image, file: Path, options: argparse.Namespace) -> None:
    from mmgrad_explain.images.saving import safe_save

    safe_save(picture, file, format=options.format, overwrite=options.overwrite)


def _write(explanation: Explanation, index: int, file: Path, options: argparse.Namespace) -> Path:
    """Write a sample's picture or arrays; gives the file."""
    if file.suffix.lower() == ".npz" or options.format == "npz":
        return put(file, options, lambda free: explanation.save_arrays(free, index, overwrite=options.overwrite))
    picture: Image.Image = explanation.overlay(index, words=options.words, **_colours(options))
    return put(file, options, lambda free: _save(picture, free, options))


def _colours(options: argparse.Namespace) -> dict[str, Any]:
    names = ("alpha", "colormap", "threshold", "contour")
    return {name: getattr(options, name) for name in names}
