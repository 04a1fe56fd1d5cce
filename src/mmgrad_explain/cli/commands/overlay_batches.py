"""Many pictures through one command: what cannot be used is left out, and the rest is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    Write: TypeAlias = Callable[[], list[dict[str, Any]]]
    Draw: TypeAlias = Callable[[list["Job"]], Write]

_CHUNK = 16  # pictures that go through the model together


class Job(NamedTuple):
    """A picture that was opened.

    Attributes:
        name: As it was typed.
        file: Where its map goes.
        image: The picture.
    """

    name: str
    file: Path
    image: Image.Image


def draw_all(
    names: Sequence[tuple[str, Path]],
    read: Callable[[str], Image.Image],
    prepare: Callable[[list[Job]], tuple[Draw, bool]],
) -> tuple[list[dict[str, Any]], dict[str, InputError]]:
    """Draw pictures, some at a time.

    Args:
        names: Of the pictures, and where their maps go.
        read: Opens one.
        prepare: Loads the model, for the first pictures that are open. It gives what draws pictures together, which
            raises InputError where that cannot be and gives back what writes them, and whether each picture goes alone.

    Returns:
        What was drawn, and why some pictures were not.

    Raises:
        InputError: None could be drawn, or what was drawn cannot be written.
    """
    drawn: list[dict[str, Any]] = []
    failed: dict[str, InputError] = {}
    ready: tuple[Draw, bool] | None = None
    for start in range(0, len(names), _CHUNK):
        jobs = _opened(names[start : start + _CHUNK], read, failed)
        if not jobs:
            continue
        ready = ready or prepare(jobs)
        draw, alone = ready
        for part in [[job] for job in jobs] if alone else [jobs]:
            drawn += _drawn(part, draw, failed)
        if not drawn and len({str(failed[job.name]) for job in jobs}) == 1:
            break  # it is not the pictures
    if not drawn:
        raise next(iter(failed.values()))
    return drawn, failed


def _opened(
    names: Sequence[tuple[str, Path]], read: Callable[[str], Image.Image], failed: dict[str, InputError]
) -> list[Job]:
    found = []
    for name, file in names:
        try:
            found.append(Job(name, file, read(name)))
        except InputError as error:
            failed[name] = error
    return found


def _drawn(jobs: list[Job], draw: Draw, failed: dict[str, InputError]) -> list[dict[str, Any]]:
    """Together, or one by one where that cannot be."""
    try:
        write = draw(jobs)
    except InputError as error:
        if len(jobs) > 1:
            return [result for job in jobs for result in _drawn([job], draw, failed)]
        failed[jobs[0].name] = error
        return []
    return write()
