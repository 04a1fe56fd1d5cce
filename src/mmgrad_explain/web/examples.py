"""Example pictures: drawn, so that none has to ship, with sentences that belong to them and words that models know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from mmgrad_explain.composers.content_words import count_classes, unknown_to
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.web.drawn_people import Figure

if TYPE_CHECKING:
    import os

    from mmgrad_explain.composers.base import Composer

SERIES, SIZE = 7, 320
"""Of the scenes: the seed of their series, and their side in pixels."""
_CHOSEN = ((3, 2), (4, 0), (5, 1), (1, 3))  # scene and edit
_GALLERY = (0, 1, 3, 4, 5)
_SCENES = ("from mmgrad_explain.data.scenes.scene import scenes",)
_FIGURES = ("from mmgrad_explain.web.drawn_people import Figure",)
_WORN = (
    (Figure((("shoes", "black"), ("dress", "blue")), 1), "dress", "red", "make the dress red"),
    (Figure((("shoes", "black"), ("shirt", "white"), ("skirt", "green")), 3), "skirt", "striped green",
     "add stripes to the skirt"),
    (Figure((("shoes", "white"), ("trousers", "blue"), ("shirt", "orange")), 4), "trousers", "green",
     "paint the trousers green"),
    (Figure((("shoes", "red"), ("trousers", "black"), ("shirt", "white")), 6), "shirt", "purple",
     "make the shirt purple"),
)  # fmt: skip
_ALSO = ("yellow", "pink", "black")
"""In the gallery of figures each garment is seen in these colours too."""


class Code(NamedTuple):
    """A piece of Python.

    Attributes:
        text: An expression, or a line.
        imports: The lines that it needs above it.
    """

    text: str
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A picture, a sentence, and the picture that the sentence leads to.

    Attributes:
        text: What should change.
        picture: At most 360 pixels on its longer side.
        target: Of the same size.
        code: Gives the picture.
        target_code: Gives the target.
    """

    text: str
    picture: Image.Image
    target: Image.Image
    code: Code
    target_code: Code


@cache
def examples(kind: str = "shapes") -> tuple[Example, ...]:
    """Draw the examples of a kind: ``"shapes"`` or ``"figures"`` (:data:`KINDS`)."""
    return KINDS[kind]()


def kind_for(composer: Composer) -> str:
    """The kind of examples of whose sentences a model knows the most words; the first of equal ones."""
    return min(KINDS, key=lambda kind: count_classes(unknown_to(composer, [one.text for one in examples(kind)])))


def code_for(picture: Image.Image) -> Code | None:
    """Find the Python that draws a picture, if it is one of the examples.

    Args:
        picture: Any picture.

    Returns:
        An expression that gives an array or a picture; None for any other picture.
    """
    for one in (one for kind in KINDS for one in examples(kind)):
        for drawn, code in ((one.picture, one.code), (one.target, one.target_code)):
            if drawn.size == picture.size and drawn.tobytes() == picture.tobytes():
                return code
    return None


def write_pictures(folder: str | os.PathLike[str], kind: str = "shapes") -> list[Path]:
    """Draw the pictures of an example gallery: scenes, or figures, after each of some edits, but not as they are.

    Args:
        folder: Where; made if it is not there.
        kind: Of the examples, one of :data:`KINDS`.

    Returns:
        The files, PNG.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for name, picture in (_changed_scenes if kind == "shapes" else _changed_figures)().items():
        files.append(place / f"{name}.png")
        picture.save(files[-1])
    return files


def _shapes() -> tuple[Example, ...]:
    found = []
    for number, edit in _CHOSEN:
        (one,) = scenes(SERIES, 1, size=SIZE, start=number)
        triplet = one.triplets[edit]
        scene = f"next(scenes({SERIES}, 1, size={SIZE}, start={number}))"
        code, target = Code(f"{scene}.reference", _SCENES), Code(f"{scene}.triplets[{edit}].target", _SCENES)
        found.append(
            Example(triplet.text, Image.fromarray(one.reference), Image.fromarray(triplet.target), code, target)
        )
    return tuple(found)


def _figures() -> tuple[Example, ...]:
    found = []
    for figure, garment, colour, text in _WORN:
        changed = figure.wearing(garment, colour)
        code, target = (Code(f"Figure({one.garments!r}, {one.seed}).draw()", _FIGURES) for one in (figure, changed))
        found.append(Example(text, figure.draw(), changed.draw(), code, target))
    return tuple(found)


def _changed_scenes() -> dict[str, Image.Image]:
    pictures = {}
    for number in _GALLERY:
        (scene,) = scenes(SERIES, 1, size=SIZE, start=number)
        for edit, triplet in enumerate(scene.triplets):
            pictures[f"scene-{number}-{'abcd'[edit]}"] = Image.fromarray(triplet.target)
    return pictures


def _changed_figures() -> dict[str, Image.Image]:
    return {
        f"figure-{number}-{shown.replace(' ', '-')}": figure.wearing(garment, shown).draw()
        for number, (figure, garment, colour, _) in enumerate(_WORN)
        for shown in dict.fromkeys((colour, *_ALSO))
    }


KINDS = {"shapes": _shapes, "figures": _figures}
"""The kinds of examples, and what draws them."""
