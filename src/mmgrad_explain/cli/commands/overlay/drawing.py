"""Draw the maps of an ``overlay`` command, some images at a time. Images that cannot be used are left out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mmgrad_explain.cli.commands.overlay.records import part_record, sample_record
from mmgrad_explain.cli.typed_images import check_files, open_typed_image
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import sides_with_maps
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    from mmgrad_explain.cli.commands.overlay.request import Request
    from mmgrad_explain.cli.output_files import OutputFile
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.explanation.result import Explanation

_CHUNK = 16  # images that go through the model together


@dataclass
class Drawn:
    """What was drawn.

    Attributes:
        records: The map of each image, ready for JSON.
        failed: The names of images that were left out, and why.
        remarks: What a user should know about the maps.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, InputError] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class _Job(NamedTuple):
    """An image that was opened: its name as it was typed, the file for its map, and the image."""

    name: str
    file: OutputFile
    image: Image.Image


class _Model(NamedTuple):
    """The model, and why it was chosen if the user named none."""

    composer: Composer
    why: str | None


class _Map(NamedTuple):
    """An image's map: a sample of an explanation, a function that writes it, and texts and records of its parts."""

    job: _Job
    explanation: Explanation
    sample: int
    save: Callable[..., object]
    texts: tuple[str, ...] = ()
    parts: dict[str, Any] = {}  # noqa: RUF012  (never changed)


def draw_all(request: Request) -> Drawn:
    """Draw and write the maps of all images.

    Raises:
        InputError: No image could be used, or a file cannot be written.
    """
    target = None if request.target is None else open_typed_image(request.target)
    check_files(name for name, _ in request.images)
    drawn = Drawn()
    notes: list[Note] = []  # each is about one image, by its index
    model: _Model | None = None
    for start in range(0, len(request.images), _CHUNK):
        jobs = _open(request.images[start : start + _CHUNK], drawn.failed)
        if not jobs:
            continue
        model = model or _load_model(request, [job.image for job in jobs])
        for together in [[job] for job in jobs] if _go_one_by_one(jobs, model.composer, request) else [jobs]:
            for found in _explain_each(together, target, model.composer, request, drawn.failed):
                file = found.job.file.write(found.save)
                record = sample_record(found.explanation, found.sample, in_words=request.in_words)
                if request.maps_of is None:
                    of_image = found.explanation.notes_of(found.sample)
                    notes += [replace(note, samples=(len(drawn.records),)) for note in of_image]
                else:
                    drawn.remarks += _remarks_on_parts(found, several=len(request.images) > 1)
                drawn.records.append(
                    {"image": found.job.name, "file": str(file), **record, **found.parts, "model_choice": model.why}
                )
        if not drawn.records and len({str(drawn.failed[job.name]) for job in jobs}) == 1:
            break  # the reason lies elsewhere than in the images
    if not drawn.records:
        raise next(iter(drawn.failed.values()))
    names = [record["image"] for record in drawn.records]
    drawn.remarks += [note.text_with_names(names) for note in join_notes(notes, len(request.images))]
    return drawn


def _open(images: Sequence[tuple[str, OutputFile]], failed: dict[str, InputError]) -> list[_Job]:
    jobs = []
    for name, file in images:
        try:
            jobs.append(_Job(name, file, open_typed_image(name)))
        except InputError as error:
            failed[name] = error
    return jobs


def _load_model(request: Request, images: list[Image.Image]) -> _Model:
    """Load the model; if none is named, choose a bundled one by the text and the first images."""
    from mmgrad_explain.composers.bundled import choose_bundled
    from mmgrad_explain.composers.load import load_composer

    if request.model is not None:
        return _Model(load_composer(request.model), None)
    choice = choose_bundled(images, [request.text])
    return _Model(choice.composer, choice.why)


def _go_one_by_one(jobs: list[_Job], composer: Composer, request: Request) -> bool:
    """Return whether each image goes through the model alone: the model is large, or the images are no batch for it."""
    from mmgrad_explain.composers.model_capabilities import capabilities

    if request.maps_of is not None or composer.answers_in_words:
        return True
    return len({job.image.size for job in jobs}) > 1 and capabilities(composer).keeps_shapes


def _explain_each(
    jobs: list[_Job], target: Image.Image | None, composer: Composer, request: Request, failed: dict[str, InputError]
) -> list[_Map]:
    """Explain images together; if the model refuses one of them, explain each alone to find out which."""
    try:
        if request.maps_of is not None:
            return _explain_parts(jobs, composer, request)
        return _explain(jobs, target, composer, request)
    except InputError as error:
        if len(jobs) == 1:
            failed[jobs[0].name] = error
            return []
    return [found for job in jobs for found in _explain_each([job], target, composer, request, failed)]


def _explain(jobs: list[_Job], target: Image.Image | None, composer: Composer, request: Request) -> list[_Map]:
    """Explain the text on each image."""
    from mmgrad_explain.api import explain

    explanation = explain(
        [job.image for job in jobs], request.text, target=target, model=composer, words=request.words,
        answer_part=next(iter(request.answer_parts), None), **request.method,
    )  # fmt: skip
    explanation = _check(explanation, request)

    def save(path: Path, *, index: int, overwrite: bool) -> None:
        if path.suffix.lower() == ".npz" or request.format == "npz":
            explanation.save_arrays(path, index, overwrite=overwrite)
        else:
            picture = explanation.overlay(index, words=bool(request.words), **request.colours)
            _save_picture(picture, path, request.format, overwrite=overwrite)

    return [_Map(job, explanation, index, partial(save, index=index)) for index, job in enumerate(jobs)]


def _explain_parts(jobs: list[_Job], composer: Composer, request: Request) -> list[_Map]:
    """Explain the text on one image, and each of its phrases; or an answer and each of some parts of it."""
    from mmgrad_explain.api import answer_maps, phrase_maps

    (job,) = jobs
    if request.maps_of == "phrase":
        part = next(iter(request.answer_parts), None)
        found = phrase_maps(job.image, request.text, model=composer, answer_part=part, **request.method)
    else:
        found = answer_maps(job.image, request.text, model=composer, parts=request.answer_parts, **request.method)

    found = replace(found, explanation=_check(found.explanation, request))

    def save(path: Path, *, overwrite: bool) -> None:
        _save_picture(found.overlay(**request.colours), path, request.format, overwrite=overwrite)

    parts = [
        {request.maps_of: part, **part_record(found.explanation, index)}
        for index, part in enumerate(found.phrases, start=1)
    ]
    return [_Map(job, found.explanation, 0, save, (found.text, *found.phrases), {f"{request.maps_of}s": parts})]


def _check(explanation: Explanation, request: Request) -> Explanation:
    """Check the maps if that is asked for; where they cannot be checked, a note says why."""
    if not request.check:
        return explanation
    try:
        explanation.check(target=False not in sides_with_maps(explanation), progress=True)
    except InputError as error:
        notes = join_notes((*explanation.notes, Note("unchecked", f"not checked: {error}")), len(explanation))
        return replace(explanation, notes=notes)
    return explanation


def _remarks_on_parts(found: _Map, *, several: bool) -> list[str]:
    """Write out the notes of a map and of its parts, with their texts; with the image's name if there are several."""
    texts = [json.dumps(text, ensure_ascii=False) for text in found.texts]
    start = f"{found.job.name}: " if several else ""
    return [f"{start}{note.text_with_names(texts)}" for note in found.explanation.notes]


def _save_picture(picture: Image.Image, path: Path, kind: str | None, *, overwrite: bool) -> None:
    from mmgrad_explain.images.saving import safe_save

    safe_save(picture, path, format=kind, overwrite=overwrite)
