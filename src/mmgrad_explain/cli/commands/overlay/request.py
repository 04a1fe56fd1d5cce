"""What an ``overlay`` command asks for; everything is checked here, before a model is loaded or a file written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.known_names import METHODS, SCORES, SCORES_WITH_TARGET
from mmgrad_explain.cli.output_files import OutputFile, name_after
from mmgrad_explain.cli.typed_images import STANDARD_INPUT
from mmgrad_explain.cli.typed_values import check_name, decode_text
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse

FORMATS = ("png", "jpg", "npz")


@dataclass(frozen=True)
class Request:
    """An ``overlay`` command that was checked.

    Attributes:
        images: The name of each image as it was typed, and the file for its map.
        text: The text.
        target: Name of the target image.
        model: Name of the model; None lets the images and the text choose a bundled one.
        method: Layer, score, method, device and answer, as arguments of ``explain``.
        answer_parts: Parts of the answer that the score counts.
        maps_of: ``"phrase"`` or ``"part"`` where each image gets a map of each phrase of the text, or of each part of
            the answer; else None.
        words: Draw and list what each word contributes; a string says how that is measured.
        in_words: Say in plain words what the map means.
        check: Find out how far each map can be trusted.
        format: One of :data:`FORMATS`; by the file's suffix when None.
        colours: Opacity, colormap, threshold and contour, as arguments of ``Explanation.overlay``.
        as_json: Print JSON.
    """

    images: tuple[tuple[str, OutputFile], ...]
    text: str
    target: str | None
    model: str | None
    method: dict[str, Any]
    answer_parts: tuple[str, ...]
    maps_of: str | None
    words: bool | str
    in_words: bool
    check: bool
    format: str | None
    colours: dict[str, Any]
    as_json: bool


def read_request(options: argparse.Namespace) -> Request:
    """Check the options, and plan the files.

    Raises:
        InputError: An option cannot be used.
        OutputExistsError: A file exists and may not be replaced.
    """
    text, answer = decode_text(options.text), options.answer and decode_text(options.answer)
    parts = tuple(map(decode_text, options.answer_part))
    check_name("--score", options.score, SCORES)
    check_name("--method", options.method, METHODS)
    if not text.strip():
        raise InputError('the text is empty: say what should change, for example "make it red"')
    _check_options(options)
    maps_of = _kind_of_parts(options)
    return Request(
        images=tuple(zip(options.images, _plan_files(options, text), strict=True)),
        text=text,
        target=options.target,
        model=options.model,
        method={
            "layer": options.layer, "score": options.score, "method": options.method, "device": options.device,
            "answer": answer, "calibration": options.calibration,
        },
        answer_parts=parts,
        maps_of=maps_of,
        words=options.words_by or options.words,
        in_words=options.in_words,
        check=options.check,
        format=options.format,
        colours={name: getattr(options, name) for name in ("alpha", "colormap", "threshold", "contour")},
        as_json=options.json,
    )  # fmt: skip


def _check_options(options: argparse.Namespace) -> None:
    """Raise what would otherwise be found out after the model is loaded."""
    if not 0 <= options.alpha <= 1:
        raise InputError(f"--alpha must be between 0 and 1, got {options.alpha}")
    if not 0 <= options.threshold < 1:
        raise InputError(f"--threshold must be at least 0 and below 1, got {options.threshold}")
    if options.score in SCORES_WITH_TARGET and options.target is None:
        raise InputError(f"--score {options.score} compares with a target: add --target IMAGE, or leave --score out")
    if options.calibration is not None and (options.layer or options.method):
        raise InputError("--calibration says layer and method: leave --layer and --method out")
    for name in options.images if len(options.images) > 1 else ():
        if name != STANDARD_INPUT and not Path(name).suffix and not Path(name).expanduser().exists():
            raise InputError(f"no such file: {name}: put quotes around a text of several words")
    if [*options.images, options.target].count(STANDARD_INPUT) > 1:
        raise InputError("standard input (-) can be read only once")


def _kind_of_parts(options: argparse.Namespace) -> str | None:
    """Find out of what each image gets several maps: phrases of the text, parts of the answer, or None."""
    parts = len(options.answer_part) > 1
    if not (options.phrases or parts):
        return None
    if options.target is not None or options.words or options.words_by or options.format == "npz":
        option = "--phrases" if options.phrases else "--answer-part, repeated,"
        raise InputError(f"{option} draws several maps of one picture: leave out --target, --words and --format npz")
    if options.phrases and parts:
        raise InputError("--phrases and several --answer-part exclude each other: leave one of them out")
    return "phrase" if options.phrases else "part"


def _plan_files(options: argparse.Namespace, text: str) -> list[OutputFile]:
    """Plan the file of each image's map, and check that it can be written."""
    out = None if options.out is None else Path(options.out).expanduser()
    if out is None or len(options.images) > 1 or out.is_dir() or str(options.out).endswith("/"):
        paths = _name_files(options, out or Path(), text)
    else:
        _check_suffix(out, options.format)
        paths = [out]
    files = [OutputFile.planned(path, options) for path in paths]
    for file in files:
        file.check()
    return files


def _check_suffix(out: Path, wanted: str | None) -> None:
    suffix = out.suffix.lower().lstrip(".").replace("jpeg", "jpg")
    if wanted is None and suffix not in FORMATS:
        raise InputError(f"--out {out} must end in .png, .jpg or .npz, or say --format")
    if wanted is not None and suffix in FORMATS and suffix != wanted:
        raise InputError(f"--out {out} and --format {wanted} disagree")


def _name_files(options: argparse.Namespace, folder: Path, text: str) -> list[Path]:
    """Name the files after the images and the text; in one folder each name is given once."""
    suffix = options.format or "png"
    paths: list[Path] = []
    for image in options.images:
        name = f"{'stdin' if image == STANDARD_INPUT else Path(image).stem}_{name_after(text, 'map')}"
        path, number = folder / f"{name}.{suffix}", 2
        while path in paths and (options.out is not None or options.overwrite):  # else it is numbered when written
            path, number = folder / f"{name}-{number}.{suffix}", number + 1
        paths.append(path)
    return paths
