"""Sentences for generated scenes: how an object is named, and how an edit is asked for.

Everything is lower-case ASCII with single spaces. :data:`VOCABULARY` is computed from the very tables the sentences are
made of, so it cannot miss a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

_T = TypeVar("_T")

# The first word is the usual one.
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "yellow": ("yellow",),
    "purple": ("purple", "violet"),
    "orange": ("orange",),
    "pink": ("pink",),
    "cyan": ("cyan", "turquoise"),
}
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "cross": ("cross", "plus"),
    "ring": ("ring",),
    "crescent": ("crescent", "moon"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}
NOUNS = ("one", "shape", "object", "thing")

# Side -> (axis, sign, how an object on that side is told from its like).
SIDES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "left": (0, -1, ("the left {noun}", "the {noun} on the left", "the leftmost {noun}")),
    "right": (0, 1, ("the right {noun}", "the {noun} on the right", "the rightmost {noun}")),
    "top": (1, -1, ("the top {noun}", "the {noun} at the top", "the upper {noun}")),
    "bottom": (1, 1, ("the bottom {noun}", "the {noun} at the bottom", "the lower {noun}")),
}
MARGIN = 0.12
"""How much farther out than its like an object must be, as a share of the picture, to be called by its side."""

# Place -> (where something is added, where something is moved).
_CORNERS = {
    f"{vertical} {side}": (
        (
            f"at the {vertical} {side}",
            f"in the {vertical} {side}",
            f"in the {vertical} {side} corner",
            f"in the {other} {side} corner",
        ),
        (f"to the {vertical} {side}", f"to the {vertical} {side} corner", f"to the {other} {side} corner"),
    )
    for vertical, other in (("top", "upper"), ("bottom", "lower"))
    for side in ("left", "right")
}
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "left": (("on the left", "on the left side", "at the left"), ("to the left", "to the left side")),
    "right": (("on the right", "on the right side", "at the right"), ("to the right", "to the right side")),
    "top": (("at the top", "near the top"), ("to the top",)),
    "bottom": (("at the bottom", "near the bottom"), ("to the bottom",)),
    "center": (("in the center", "in the middle", "at the center"), ("to the center", "to the middle")),
    **_CORNERS,
}
DIRECTIONS = {"left": "left", "right": "right", "top": "up", "bottom": "down"}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "recolour": (
        "make {subject} {color}",
        "make {subject} {color}",
        "change {subject} to {color}",
        "change {subject} into {color}",
        "turn {subject} {color}",
        "paint {subject} {color}",
        "color {subject} {color}",
        "colour {subject} {color}",
        "recolor {subject} to {color}",
        "recolour {subject} {color}",
        "{subject} should be {color}",
        "{subject} is now {color}",
        "change the color of {subject} to {color}",
        "change the colour of {subject} to {color}",
        "make {subject} {color} instead of {old}",
        "change {subject} from {old} to {color}",
    ),
    "reshape": (
        "make {subject} {shape}",
        "turn {subject} into {shape}",
        "change {subject} to {shape}",
        "change {subject} into {shape}",
        "replace {subject} with {shape}",
        "swap {subject} for {shape}",
        "transform {subject} into {shape}",
        "{subject} should be {shape}",
        "{subject} is now {shape}",
        "change the shape of {subject} to {shape}",
    ),
    "larger": (
        "make {subject} bigger",
        "make {subject} larger",
        "make {subject} big",
        "make {subject} large",
        "enlarge {subject}",
        "grow {subject}",
        "scale up {subject}",
        "increase the size of {subject}",
        "{subject} should be bigger",
        "{subject} should be larger",
    ),
    "smaller": (
        "make {subject} smaller",
        "make {subject} smaller",
        "make {subject} small",
        "make {subject} little",
        "shrink {subject}",
        "scale down {subject}",
        "reduce the size of {subject}",
        "decrease the size of {subject}",
        "{subject} should be smaller",
    ),
    "remove": (
        "remove {subject}",
        "remove {subject}",
        "delete {subject}",
        "erase {subject}",
        "take away {subject}",
        "take {subject} away",
        "take out {subject}",
        "get rid of {subject}",
        "without {subject}",
        "the same without {subject}",
    ),
    "move to": (
        "move {subject} {place}",
        "move {subject} {place}",
        "shift {subject} {place}",
        "put {subject} {where}",
        "place {subject} {where}",
        "{subject} should be {where}",
    ),
    "move along": (
        "move {subject} {direction}",
        "shift {subject} {direction}",
        "push {subject} {direction}",
        "slide {subject} {direction}",
    ),
    "add": (
        "add {thing} {where}",
        "add {thing} {where}",
        "put {thing} {where}",
        "place {thing} {where}",
        "draw {thing} {where}",
        "insert {thing} {where}",
        "with {thing} {where}",
        "there should be {thing} {where}",
        "{where} add {thing}",
    ),
}


@dataclass(frozen=True)
class SceneObject:
    """What a sentence can say of an object: its shape, colour and size, and where it is.

    Attributes:
        shape: A key of :data:`SHAPE_WORDS`.
        color: A key of :data:`COLOR_WORDS`.
        size: ``"small"`` or ``"large"``.
        u: Horizontal centre, 0 at the left edge and 1 at the right edge of the visible picture.
        v: Vertical centre, 0 at the top and 1 at the bottom.
    """

    shape: str
    color: str
    size: str
    u: float
    v: float


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Draws one of the options with equal chances (faster than ``rng.choice``)."""
    return options[int(rng.random() * len(options))]


def word(rng: np.random.Generator, options: Sequence[str], usual: float = 0.85) -> str:
    """Draws a word: the first with the chance ``usual``, otherwise any."""
    return options[0] if len(options) == 1 or rng.random() < usual else pick(rng, options)


def with_article(words: str) -> str:
    """Puts "a" or "an" before the words."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def name(rng: np.random.Generator, thing: SceneObject, attributes: Iterable[str]) -> str:
    """Names an object by the given attributes, without article: ``small red star``, ``red one``."""
    chosen = set(attributes)
    words: list[str] = []
    if "size" in chosen:
        words.append(word(rng, SIZE_WORDS[thing.size], 0.7))
    if "color" in chosen:
        words.append(word(rng, COLOR_WORDS[thing.color]))
    words.append(word(rng, SHAPE_WORDS[thing.shape]) if "shape" in chosen else word(rng, NOUNS, 0.4))
    return " ".join(words)


_KINDS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1.0, ("color",)),
    (1.0, ("shape",)),
    (1.4, ("color", "shape")),
    (0.7, ("size", "shape")),
    (0.5, ("size", "color")),
    (0.4, ("size",)),
    (0.25, ("size", "color", "shape")),
)
_FILTERS: tuple[tuple[str, ...], ...] = ((), ("shape",), ("color",), ("color", "shape"), ("size",))


def _alike(objects: Sequence[SceneObject], thing: SceneObject, attributes: Sequence[str]) -> list[SceneObject]:
    return [other for other in objects if all(getattr(other, a) == getattr(thing, a) for a in attributes)]


def _by_place(rng: np.random.Generator, objects: Sequence[SceneObject], thing: SceneObject) -> str | None:
    attributes = pick(rng, _FILTERS)
    rivals = [other for other in _alike(objects, thing, attributes) if other is not thing]
    sides: list[tuple[str, ...]] = []
    for axis, sign, forms in SIDES.values():
        here = sign * ((thing.u, thing.v)[axis] - 0.5)
        if here > 0 and all(here > sign * ((o.u, o.v)[axis] - 0.5) + MARGIN for o in rivals):
            sides.append(forms)
    if not rivals or not sides:
        return None
    return pick(rng, pick(rng, sides)).format(noun=name(rng, thing, attributes))


def describe(rng: np.random.Generator, objects: Sequence[SceneObject], index: int) -> str:
    """Describes one object so that no other object of the scene fits.

    Args:
        rng: The source of variety.
        objects: All objects of the scene; no two may share shape, colour and size.
        index: The object to describe.

    Returns:
        A noun phrase, such as ``"the small star"``; ``"it"`` only where the object is alone.
    """
    thing = objects[index]
    if len(objects) == 1 and rng.random() < 0.6:
        return "it"
    if rng.random() < 0.3:
        placed = _by_place(rng, objects, thing)
        if placed is not None:
            return placed
    kinds = [(weight, kind) for weight, kind in _KINDS if len(_alike(objects, thing, kind)) == 1]
    left = rng.random() * sum(weight for weight, _ in kinds)
    for weight, kind in kinds:
        left -= weight
        if left <= 0:
            return "the " + name(rng, thing, kind)
    return "the " + name(rng, thing, kinds[-1][1])


def sentence(rng: np.random.Generator, templates: Sequence[str], values: Mapping[str, str]) -> str:
    """Fills one of the templates; now and then politely."""
    text = pick(rng, templates).format_map(values)
    text = re.sub(r"\bthe (colou?r|size|shape) of it\b", r"its \1", text)
    text = re.sub(r"\b(take|scale) (away|out|up|down) it\b", r"\1 it \2", text)
    return f"please {text}" if rng.random() < 0.05 else text


def _vocabulary() -> tuple[str, ...]:
    texts: list[str] = ["please it its the a an", *NOUNS, *DIRECTIONS.values()]
    for table in (COLOR_WORDS, SHAPE_WORDS, SIZE_WORDS, TEMPLATES):
        for entry in table.values():
            texts.extend(entry)
    for _, _, forms in SIDES.values():
        texts.extend(forms)
    for where, place in PLACES.values():
        texts.extend(where + place)
    return tuple(sorted(set(re.sub(r"\{\w+\}", " ", " ".join(texts)).split())))


VOCABULARY: tuple[str, ...] = _vocabulary()
"""Every word a sentence can contain, sorted."""
