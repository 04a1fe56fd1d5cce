"""Texts for generated scenes: descriptions of objects, and sentences that ask for edits.

Everything is lower-case ASCII with single spaces. :data:`VOCABULARY` is computed from the tables that the sentences are
made of, so it contains every word.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from mmgrad_explain.data.scenes.templates import TEMPLATES
from mmgrad_explain.data.scenes.words import (
    COLOR_WORDS,
    DIRECTIONS,
    MARGIN,
    NEAR,
    NEARER,
    NOUNS,
    PLACES,
    RELATIONS,
    SHAPE_WORDS,
    SIDES,
    SIZE_WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np


RELATION_SHARE = 0.12
"""Share of the descriptions that place the object by another one, where that is possible."""

PLACE_SHARE = 0.3
"""Share of the descriptions that name the object's side, where that is unambiguous."""

_POLITE_SHARE = 0.05

_T = TypeVar("_T")


@dataclass(frozen=True)
class SceneObject:
    """What a sentence can say about an object.

    Attributes:
        shape: A key of :data:`~mmgrad_explain.data.scenes.words.SHAPE_WORDS`.
        color: A key of :data:`~mmgrad_explain.data.scenes.words.COLOR_WORDS`.
        size: ``"small"`` or ``"large"``.
        u: Horizontal centre, 0 at the left edge and 1 at the right edge of the visible image.
        v: Vertical centre, 0 at the top and 1 at the bottom.
    """

    shape: str
    color: str
    size: str
    u: float
    v: float


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Draw one of the options with equal chances (faster than ``rng.choice``)."""
    return options[int(rng.random() * len(options))]


def pick_word(rng: np.random.Generator, options: Sequence[str], usual: float = 0.85) -> str:
    """Draw a word: the first with the probability ``usual``, otherwise any."""
    return options[0] if len(options) == 1 or rng.random() < usual else pick(rng, options)


def add_article(words: str) -> str:
    """Put "a" or "an" before the words."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def name_object(rng: np.random.Generator, thing: SceneObject, attributes: Iterable[str]) -> str:
    """Name an object by the given attributes, without article: ``small red star``, ``red one``."""
    chosen = set(attributes)
    words: list[str] = []
    if "size" in chosen:
        words.append(pick_word(rng, SIZE_WORDS[thing.size], 0.7))
    if "color" in chosen:
        words.append(pick_word(rng, COLOR_WORDS[thing.color]))
    words.append(pick_word(rng, SHAPE_WORDS[thing.shape]) if "shape" in chosen else pick_word(rng, NOUNS, 0.4))
    return " ".join(words)


_WEIGHTED_LOOKS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.8, ("color",)),
    (1.0, ("shape",)),
    (1.4, ("color", "shape")),
    (0.9, ("size", "shape")),
    (0.7, ("size", "color")),
    (0.5, ("size",)),
    (0.3, ("size", "color", "shape")),
)
_FILTERS: tuple[tuple[str, ...], ...] = ((), ("shape",), ("color",), ("color", "shape"), ("size",))


_LOOKS: dict[tuple[str, ...], Callable[[SceneObject], object]] = {
    attributes: attrgetter(*attributes) if attributes else lambda _: None
    for attributes in (*_FILTERS, *(kind for _, kind in _WEIGHTED_LOOKS))
}


def _alike(objects: Sequence[SceneObject], thing: SceneObject, attributes: tuple[str, ...]) -> list[SceneObject]:
    look = _LOOKS[attributes]
    wanted = look(thing)
    return [other for other in objects if look(other) == wanted]


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
    return pick(rng, pick(rng, sides)).format(noun=name_object(rng, thing, attributes))


def _related(relation: str, thing: SceneObject, anchor: SceneObject) -> bool | None:
    """Return whether the relation holds; None where it is ambiguous."""
    du, dv = thing.u - anchor.u, thing.v - anchor.v
    axis, sign, _ = RELATIONS[relation]
    along, across = sign * (du, dv)[axis], abs((dv, du)[axis])
    if along <= 0:
        return False
    return True if along > MARGIN and across < along else None


def _close(thing: SceneObject, anchor: SceneObject, rivals: Sequence[SceneObject]) -> bool:
    """Return whether the object, and none of its rivals, is next to the anchor."""
    reach = math.hypot(thing.u - anchor.u, thing.v - anchor.v)
    others = [math.hypot(o.u - anchor.u, o.v - anchor.v) for o in rivals if o is not anchor]
    return reach < NEAR and all(other > NEARER * reach for other in others)


def _by_relation(rng: np.random.Generator, objects: Sequence[SceneObject], thing: SceneObject) -> str | None:
    """Describe the object by its relation to another one; None if that is ambiguous or not needed."""
    anchors = [other for other in objects if other is not thing]
    found: list[tuple[tuple[str, ...], SceneObject, tuple[str, ...]]] = []
    for attributes in _FILTERS:
        rivals = [other for other in _alike(objects, thing, attributes) if other is not thing]
        for anchor in anchors if rivals else ():
            for relation, (_, sign, forms) in RELATIONS.items():
                if sign:
                    holds = _related(relation, thing, anchor) is True and not any(
                        _related(relation, rival, anchor) is not False for rival in rivals if rival is not anchor
                    )
                else:
                    holds = rivals != [anchor] and _close(thing, anchor, rivals)
                if holds:
                    found.append((attributes, anchor, forms))
    if not found:
        return None
    attributes, anchor, forms = pick(rng, found)
    return f"the {name_object(rng, thing, attributes)} {pick_word(rng, forms, 0.4)} {_by_looks(rng, objects, anchor)}"


def _by_looks(rng: np.random.Generator, objects: Sequence[SceneObject], thing: SceneObject) -> str:
    """Describe the object by a random set of its looks that no other object shares."""
    kinds = [(weight, kind) for weight, kind in _WEIGHTED_LOOKS if len(_alike(objects, thing, kind)) == 1]
    left = rng.random() * sum(weight for weight, _ in kinds)
    for weight, kind in kinds[:-1]:
        left -= weight
        if left <= 0:
            return "the " + name_object(rng, thing, kind)
    return "the " + name_object(rng, thing, kinds[-1][1])


def describe_object(
    rng: np.random.Generator,
    objects: Sequence[SceneObject],
    index: int,
    *,
    relations: float = RELATION_SHARE,
    places: float = PLACE_SHARE,
) -> str:
    """Describe one object so that no other object of the scene fits.

    Args:
        rng: The source of variety.
        objects: All objects of the scene; no two may share shape, colour and size.
        index: The object to describe.
        relations: Share of descriptions by another object, ``"the star left of the ring"``, where that is possible.
        places: Share of descriptions by a side, ``"the left star"``, where that is possible.

    Returns:
        A noun phrase, such as ``"the small star"``; ``"it"`` only if there is no other object.
    """
    thing = objects[index]
    if len(objects) == 1 and rng.random() < 0.6:
        return "it"
    kind = rng.random()
    phrase = None
    if kind < relations:
        phrase = _by_relation(rng, objects, thing)
    elif kind > 1 - places:
        phrase = _by_place(rng, objects, thing)
    return phrase or _by_looks(rng, objects, thing)


def find_qualifier(subject: str) -> str:
    """Find which attributes a description names the object by.

    Returns:
        ``"two"`` for two objects, ``"relation"`` for an object that is placed by another, else any of size, color,
        shape, place, as in ``"size, shape"``; ``"it"`` for ``"it"``.
    """
    if " and " in subject:
        return "two"
    if any(f" {form} the " in subject for _, _, forms in RELATIONS.values() for form in forms):
        return "relation"
    words = set(subject.split())
    kinds = {"size": SIZE_WORDS.values(), "color": COLOR_WORDS.values(), "shape": SHAPE_WORDS.values()}
    found = [kind for kind, tables in kinds.items() if any(words & set(table) for table in tables)]
    places = {word for _, _, phrases in SIDES.values() for phrase in phrases for word in phrase.split()}
    if words & (places - {"the", "{noun}", "on", "at"}):
        found.append("place")
    return ", ".join(found) or "it"


def fill_template(rng: np.random.Generator, templates: Sequence[str], values: Mapping[str, str]) -> str:
    """Fill one of the templates; sometimes put "please" before a sentence that begins with a verb."""
    template = pick(rng, templates)
    text = template.format_map(values)
    text = re.sub(r"\bthe (colou?r|size|shape) of it\b", r"its \1", text)
    text = re.sub(r"\b(take|scale) (away|out|up|down) it\b", r"\1 it \2", text)
    polite = rng.random() < _POLITE_SHARE and not template.startswith(("{", "with", "the"))
    return f"please {text}" if polite else text


def _vocabulary() -> tuple[str, ...]:
    texts: list[str] = ["please it its the a an and are", *NOUNS, *DIRECTIONS.values()]
    for table in (COLOR_WORDS, SHAPE_WORDS, SIZE_WORDS, TEMPLATES):
        for entry in table.values():
            texts.extend(entry)
    for _, _, forms in (*SIDES.values(), *RELATIONS.values()):
        texts.extend(forms)
    for where, place in PLACES.values():
        texts.extend(where + place)
    return tuple(sorted(set(re.sub(r"\{\w+\}", " ", " ".join(texts)).split())))


VOCABULARY: tuple[str, ...] = _vocabulary()
"""Every word that a sentence can contain, sorted."""
