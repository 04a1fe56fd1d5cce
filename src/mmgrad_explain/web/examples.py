"""Example images with sentences, drawn so that none has to ship; their words are words that the models know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from mmgrad_explain.composers.content_words import count_classes, find_unknown_words
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.web.drawn_people import DrawnPerson

if TYPE_CHECKING:
    import os

    from mmgrad_explain.composers.base import Composer

SERIES, SIZE = 7, 320
"""Seed of the series of scenes, and their side in pixels."""
_CHOSEN = ((3, 2), (4, 0), (5, 1), (1, 3))  # scene and edit
_GALLERY = (0, 1, 3, 4, 5)
_SCENES = ("from mmgrad_explain.data.scenes.scene import scenes",)
_FIGURES = ("from mmgrad_explain.web.drawn_people import DrawnPerson",)
_WORN = (
    (DrawnPerson((("shoes", "black"), ("dress", "blue")), 1), "dress", "red", "make the dress red"),
    (DrawnPerson((("shoes", "black"), ("shirt", "white"), ("skirt", "green")), 3), "skirt", "striped green",
     "add stripes to the skirt"),
    (DrawnPerson((("shoes", "white"), ("trousers", "blue"), ("shirt", "orange")), 4), "trousers", "green",
     "paint the trousers green"),
    (DrawnPerson((("shoes", "red"), ("trousers", "black"), ("shirt", "white")), 6), "shirt", "purple",
     "make the shirt purple"),
)  # fmt: skip
_ALSO = ("yellow", "pink", "black")
"""The gallery of figures shows each garment in these colours too."""


class Code(NamedTuple):
    """A piece of Python.

    Attributes:
        text: An expression, or a line.
        imports: The import lines that it needs.
    """

    text: str
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """An image, a sentence, and the image that the sentence leads to.

    Attributes:
        text: What should change.
        image: At most 360 pixels on its longer side.
        target: An image of the same size.
        code: An expression for the image.
        target_code: An expression for the target.
    """

    text: str
    image: Image.Image
    target: Image.Image
    code: Code
    target_code: Code


@cache
def draw_examples(kind: str = "shapes") -> tuple[Example, ...]:
    """Draw the examples of a kind: ``"shapes"`` or ``"figures"`` (:data:`KINDS`)."""
    return KINDS[kind]()


def choose_kind(composer: Composer) -> str:
    """Choose the kind of examples whose sentences have the fewest words that a model does not know."""

    def count_unknown(kind: str) -> tuple[int, ...]:
        return count_classes(find_unknown_words(composer, [example.text for example in draw_examples(kind)]))

    return min(KINDS, key=count_unknown)


def code_for(image: Image.Image) -> Code | None:
    """Find the Python that draws an image, if it is one of the examples.

    Args:
        image: Any image.

    Returns:
        An expression for an array or an image; None where the image is no example.
    """
    for example in (example for kind in KINDS for example in draw_examples(kind)):
        for drawn, code in ((example.image, example.code), (example.target, example.target_code)):
            if drawn.size == image.size and drawn.tobytes() == image.tobytes():
                return code
    return None


def write_example_images(folder: str | os.PathLike[str], kind: str = "shapes") -> list[Path]:
    """Draw the images of an example gallery: the results of edits of scenes or of figures, without the originals.

    Args:
        folder: The folder; made if needed.
        kind: The kind of examples, one of :data:`KINDS`.

    Returns:
        The files, PNG.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for name, image in (_changed_scenes if kind == "shapes" else _changed_figures)().items():
        files.append(place / f"{name}.png")
        image.save(files[-1])
    return files


def _shapes() -> tuple[Example, ...]:
    found = []
    for number, edit in _CHOSEN:
        (scene,) = scenes(SERIES, 1, size=SIZE, start=number)
        triplet = scene.triplets[edit]
        drawn = f"next(scenes({SERIES}, 1, size={SIZE}, start={number}))"
        code, target = Code(f"{drawn}.reference", _SCENES), Code(f"{drawn}.triplets[{edit}].target", _SCENES)
        found.append(
            Example(triplet.text, Image.fromarray(scene.reference), Image.fromarray(triplet.target), code, target)
        )
    return tuple(found)


def _figures() -> tuple[Example, ...]:
    found = []
    for figure, garment, colour, text in _WORN:
        changed = figure.wearing(garment, colour)
        code, target = (
            Code(f"DrawnPerson({person.garments!r}, {person.seed}).draw()", _FIGURES) for person in (figure, changed)
        )
        found.append(Example(text, figure.draw(), changed.draw(), code, target))
    return tuple(found)


def _changed_scenes() -> dict[str, Image.Image]:
    images = {}
    for number in _GALLERY:
        (scene,) = scenes(SERIES, 1, size=SIZE, start=number)
        for edit, triplet in enumerate(scene.triplets):
            images[f"scene-{number}-{'abcd'[edit]}"] = Image.fromarray(triplet.target)
    return images


def _changed_figures() -> dict[str, Image.Image]:
    return {
        f"figure-{number}-{shown.replace(' ', '-')}": figure.wearing(garment, shown).draw()
        for number, (figure, garment, colour, _) in enumerate(_WORN)
        for shown in dict.fromkeys((colour, *_ALSO))
    }


KINDS = {"shapes": _shapes, "figures": _figures}
"""The kinds of examples, and the functions that draw them."""
