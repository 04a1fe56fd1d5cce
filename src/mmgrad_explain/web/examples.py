"""Example pictures: drawn scenes, so that none has to ship, with sentences that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from mmgrad_explain.data.scenes import scenes

if TYPE_CHECKING:
    import os

SERIES, SIZE = 7, 320
"""Of the scenes: the seed of their series, and their side in pixels."""
_CHOSEN = ((3, 2), (4, 0), (5, 1), (1, 3))  # scene and edit
_GALLERY = (0, 1, 3, 4, 5)


@dataclass(frozen=True)
class Example:
    """A picture, a sentence, and the picture that the sentence leads to.

    Attributes:
        scene: Number of the scene in its series.
        edit: Number of the edit.
        text: What should change.
        picture: 320 x 320.
        target: 320 x 320.
    """

    scene: int
    edit: int
    text: str
    picture: Image.Image
    target: Image.Image


@cache
def examples() -> tuple[Example, ...]:
    """Draw the examples."""
    found = []
    for scene, edit in _CHOSEN:
        (one,) = scenes(SERIES, 1, size=SIZE, start=scene)
        triplet = one.triplets[edit]
        picture, target = Image.fromarray(one.reference), Image.fromarray(triplet.target)
        found.append(Example(scene, edit, triplet.text, picture, target))
    return tuple(found)


class Code(NamedTuple):
    """A piece of Python.

    Attributes:
        text: An expression, or a line.
        imports: The lines that it needs above it.
    """

    text: str
    imports: tuple[str, ...] = ()


def code_for(picture: Image.Image) -> Code | None:
    """Find the Python that draws a picture, if it is one of the examples.

    Args:
        picture: Any picture.

    Returns:
        An expression that gives an array; None for any other picture.
    """
    for one in examples():
        scene = f"next(scenes({SERIES}, 1, size={SIZE}, start={one.scene}))"
        for drawn, part in ((one.picture, "reference"), (one.target, f"triplets[{one.edit}].target")):
            if drawn.size == picture.size and drawn.tobytes() == picture.tobytes():
                return Code(f"{scene}.{part}", ("from mmgrad_explain.data.scenes import scenes",))
    return None


def write_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Draw the pictures of the example gallery: five scenes, each after each of its edits, but not as they are.

    Args:
        folder: Where; made if it is not there.

    Returns:
        The files, PNG.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for number in _GALLERY:
        (scene,) = scenes(SERIES, 1, size=SIZE, start=number)
        for edit, triplet in enumerate(scene.triplets):
            files.append(place / f"scene-{number}-{'abcd'[edit]}.png")
            Image.fromarray(triplet.target).save(files[-1])
    return files
