"""``mmgrad-explain overlay``: pictures of where the model looks."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.names import SCORES, WEIGHTINGS, WITH_TARGET, check_name
from mmgrad_explain.cli.overlay_batches import draw_all
from mmgrad_explain.cli.printing import complain, note, show
from mmgrad_explain.cli.streams import as_sentence
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse

    from PIL import Image

    from mmgrad_explain.attention import Explanation
    from mmgrad_explain.cli.overlay_batches import Draw, Job, Write
    from mmgrad_explain.composers.base import Composer

FORMATS = ("png", "jpg", "npz")

_DETAILS = """\
The picture shows the reference beside its heat map; with --target the target and its map too. A map says which places
of the picture the score depends on, through the chosen layer. It does not say that the model is right.

TEXT says what should change (composers), or what to look for (image-text models). Scores; a model has its own default:
  shift           what the text changes in the composed embedding; needs no target (default of composers)
  similarity      cosine of the composed embedding and the target's embedding; needs --target
  pair            reference and target both composed with the text, alike channels count; needs --target
  pair-different  the same, channels that differ count; needs --target
  image-text      cosine of picture and text (default of CLIP and its kin)
  match           the logit "picture and text match" (default of models that read the two together)
  answer          log-likelihood of an answer to TEXT (default of models that answer in words)

Weightings: gradcam (default), gradcam++, xgradcam, layercam, hirescam.

--words adds what each word contributes to the score (gradient x input at its embedding): from -1 to 1, the largest
magnitude being 1. Orange and + raise the score, blue and - lower it. The values are first-order and do not add up to
the score.

--in-words says below the figures what the map means, for somebody who knows nothing of gradients, and what it does not.

--phrases explains each phrase of TEXT as a text by itself and draws the maps side by side, TEXT's own first: which
region each phrase lights. A phrase alone is another question than the phrase in its sentence.

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
    add("--model", help="bundled name, model folder or hub id (default: the bundled one that knows TEXT's words best)")
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
    add("--answer-part", metavar="PART", help="only this part of the answer counts, for example one word")
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
    from mmgrad_explain.images import open_image

    for name in ("text", "answer", "answer_part"):
        setattr(options, name, getattr(options, name) and as_sentence(getattr(options, name)))
    if not options.text.strip():
        raise InputError('the text is empty: say what should change, for example "make it red"')
    if not 0 <= options.alpha <= 1:
        raise InputError(f"--alpha must be between 0 and 1, got {options.alpha}")
    if not 0 <= options.threshold < 1:
        raise InputError(f"--threshold must be at least 0 and below 1, got {options.threshold}")
    _check_names(options)
    if options.images.count("-") + (options.target == "-") > 1:
        raise InputError("standard input (-) can be read only once")
    if options.phrases and (options.target is not None or options.words or options.format == "npz"):
        raise InputError("--phrases draws pictures of one picture: it goes without --target, --words and --format npz")
    names = [Path(name).stem if name != "-" else "stdin" for name in options.images]
    target = None if options.target is None else open_image(_source(options.target))
    files = _outputs(options, names)
    for name in options.images:
        if name != "-" and not os.path.lexists(name):
            open_image(name)  # says that there is no such file

    def prepare() -> tuple[Draw, bool]:
        from mmgrad_explain.composers.generative import GenerativeComposer  # torch is needed from here on
        from mmgrad_explain.composers.load import bundled_for, load_composer

        composer = load_composer(bundled_for([options.text]) if options.model is None else options.model)
        # Models that answer in words are large, and there pictures keep their shapes.
        alone = options.phrases or isinstance(composer, GenerativeComposer)
        return partial(_phrases if options.phrases else _maps, composer, target, options), alone

    jobs = list(zip(options.images, files, strict=True))
    results, failed = draw_all(jobs, lambda name: open_image(_source(name)), prepare)
    for name, error in failed.items():
        complain(f"{name} is left out", str(error))
    if options.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
    else:
        show(*map(_text, results))
    return 1 if failed else 0


def _maps(composer: Composer, target: Image.Image | None, options: argparse.Namespace, jobs: list[Job]) -> Write:
    """Draw the maps of some pictures."""
    from mmgrad_explain.explaining import explain

    explanation = explain(
        [job.image for job in jobs], options.text, target=target, model=composer, layer=options.layer,
        score=options.score, weighting=options.weighting, device=options.device, words=options.words,
        answer=options.answer, answer_part=options.answer_part,
    )  # fmt: skip

    def write() -> list[dict[str, Any]]:
        results = []
        for index, job in enumerate(jobs):
            _write(explanation, index, job.file, options)
            results.append(_result(explanation, index, job.file, job.name, options))
        for remark in dict.fromkeys(explanation.notes):
            note(remark)
        return results

    return write


def _check_names(options: argparse.Namespace) -> None:
    """What would otherwise be found out after the model is loaded."""
    check_name("--score", options.score, SCORES)
    check_name("--weighting", options.weighting, WEIGHTINGS)
    if options.score in WITH_TARGET and options.target is None:
        raise InputError(f"--score {options.score} compares with a target: add --target IMAGE, or leave --score out")
    for name in options.images if len(options.images) > 1 else ():
        if name != "-" and not Path(name).suffix and not Path(name).expanduser().exists():
            raise InputError(f"no such file: {name}: put quotes around a text of several words")


def _phrases(composer: Composer, _target: object, options: argparse.Namespace, jobs: list[Job]) -> Write:
    """Draw the map of a picture's text and of each of its phrases."""
    from mmgrad_explain.explaining import phrase_maps
    from mmgrad_explain.images import safe_save

    ((name, file, image),) = jobs
    found = phrase_maps(
        image, options.text, model=composer, layer=options.layer, score=options.score, weighting=options.weighting,
        device=options.device, answer=options.answer, answer_part=options.answer_part,
    )  # fmt: skip
    phrases = [
        {
            "phrase": phrase,
            "score": float(found.explanation.score[index]),
            "brightest_region": _region(found.explanation, index),
        }
        for index, phrase in enumerate(found.phrases, start=1)
    ]

    def write() -> list[dict[str, Any]]:
        picture = found.overlay(**_colours(options))
        safe_save(picture, file, format=options.format, overwrite=options.overwrite)
        for remark in dict.fromkeys(found.explanation.notes):
            note(remark)
        return [{**_result(found.explanation, 0, file, name, options), "phrases": phrases}]

    return write


def _source(name: str) -> str | bytes:
    if name != "-":
        return name
    data = sys.stdin.buffer.read()
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
            while file in taken or (out is None and not options.overwrite and file.exists()):
                file = folder / f"{name}_{words}-{number}.{kind or 'png'}"
                number += 1
            taken.add(file)
            files.append(file)
    from mmgrad_explain.writing import check_writable

    for file in files:
        check_writable(file, overwrite=options.overwrite)
    return files


def _write(explanation: Explanation, index: int, file: Path, options: argparse.Namespace) -> None:
    if file.suffix.lower() == ".npz" or options.format == "npz":
        explanation.save_arrays(file, index=index, overwrite=options.overwrite)
        return
    from mmgrad_explain.images import safe_save

    picture: Image.Image = explanation.overlay(index, words=options.words, **_colours(options))
    safe_save(picture, file, format=options.format, overwrite=options.overwrite)


def _colours(options: argparse.Namespace) -> dict[str, Any]:
    names = ("alpha", "colormap", "threshold", "contour")
    return {name: getattr(options, name) for name in names}


def _result(
    explanation: Explanation, index: int, file: Path, image: str, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "image": image,
        "file": str(file),
        "text": None if explanation.texts is None else explanation.texts[index],
        "answer": None if explanation.answers is None else explanation.answers[index],
        "model": explanation.model,
        "layers": list(explanation.layer_names),
        "grid": list(explanation.maps.shape[1:]),
        "weighting": explanation.weighting,
        "score_name": explanation.score_name,
        "score": float(explanation.score[index]),
        "brightest_region": _region(explanation, index),
        "words": None if explanation.words is None else [word.to_dict() for word in explanation.words[index]],
        "in_words": explanation.in_words(index) if options.in_words else None,
        "flat": bool(explanation.flat[index]),
        "clipped": bool(explanation.clipped[index]),
        "notes": list(explanation.notes),
        "versions": dict(explanation.versions),
    }


def _region(explanation: Explanation, index: int) -> dict[str, Any] | None:
    region = explanation.brightest_region(index)
    return None if region is None else region.to_dict()


def _text(result: dict[str, Any]) -> str:
    from mmgrad_explain.attention.bright_places import percent

    grid = "x".join(map(str, result["grid"]))
    lines = [
        result["file"],
        f"  score   {result['score_name']} = {result['score']:.4g}",
        f"  map     {result['weighting']} at {', '.join(result['layers'])}, {grid} cells, model {result['model']}",
    ]
    if result["answer"] is not None:
        lines.append(f"  answer  {result['answer']}")
    region = result["brightest_region"]
    if region is None:
        lines.append(f"  region  none: {_why_dark(result)}")
    else:
        where = _where(region)
        share = percent(region["share"])
        lines.append(f"  region  {share} of the map lies in its brightest region: {where} of the picture")
    for one in result.get("phrases", ()):
        place = "nowhere" if one["brightest_region"] is None else _where(one["brightest_region"])
        lines.append(f"  phrase  {one['phrase']}: {place}")
    if result["words"] is not None:
        said = "  ".join(f"{word['word']} {round(word['scaled'], 2) + 0.0:+.2f}" for word in result["words"])
        lines.append(f"  words   {said or 'none: the model read none of them'}")
    if result["in_words"] is not None:
        for paragraph in result["in_words"].split("\n\n"):
            lines += ["", *textwrap.wrap(paragraph, 100, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)


def _why_dark(result: dict[str, Any]) -> str:
    if result["clipped"]:
        return "the map is empty (no part of the picture raises the score)"
    if result["flat"]:
        return "the map is flat (no place of the picture counts more than another)"
    return "the map lies outside the picture (on the margin of the model's input)"


def _where(region: dict[str, Any]) -> str:
    left, top, right, bottom = region["box"]
    return f"x {left} to {right}, y {top} to {bottom}"
