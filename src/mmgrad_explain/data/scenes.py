"""Composed-retrieval triplets from generated scenes, with the exact place of every edit.

A scene is a background with one to six coloured shapes. Each triplet asks for one edit in words and shows the edited
scene. Background, other objects and photographic conditions stay the same; only the sensor noise is drawn anew for
every picture. Equal seeds give equal scenes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scene_drawing import (
    COLORS,
    DIAMETERS,
    SHAPES,
    DrawnObject,
    background,
    distinct,
    make_object,
    photograph,
    random_radius,
    shown_color,
    sprite,
)
from mmgrad_explain.data.scene_text import (
    COLOR_WORDS,
    DIRECTIONS,
    PLACES,
    SHAPE_WORDS,
    TEMPLATES,
    VOCABULARY,
    describe,
    name,
    pick,
    sentence,
    with_article,
    word,
)
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmgrad_explain.data.scene_drawing import Floats

__all__ = ["COLORS", "EDITS", "SHAPES", "VOCABULARY", "Scene", "SceneTriplet", "generate_scene", "scenes"]

EDITS = ("recolour", "reshape", "resize", "remove", "move", "add")

_BAR = 127  # grey of the letterbox bars
_REGIONS = {
    "left": (0.0, 0.33, 0.25, 0.75),
    "right": (0.67, 1.0, 0.25, 0.75),
    "top": (0.25, 0.75, 0.0, 0.33),
    "bottom": (0.25, 0.75, 0.67, 1.0),
    "center": (0.4, 0.6, 0.4, 0.6),
    "top left": (0.0, 0.33, 0.0, 0.33),
    "top right": (0.67, 1.0, 0.0, 0.33),
    "bottom left": (0.0, 0.33, 0.67, 1.0),
    "bottom right": (0.67, 1.0, 0.67, 1.0),
}


@dataclass(frozen=True)
class SceneTriplet:
    """One edit of a scene.

    Attributes:
        edit: The kind of edit, one of :data:`EDITS`.
        text: What is asked for, in words of :data:`VOCABULARY`.
        target: The edited picture, ``(S, S, 3)`` uint8.
        reference_mask: The edited object in the reference, ``(S, S)`` bool; for ``add`` the place where it will be.
        target_mask: The edited object in the target; for ``remove`` the place it left.
        subject: How the object is described, for example ``"the small star"``.
    """

    edit: str
    text: str
    target: np.ndarray
    reference_mask: np.ndarray
    target_mask: np.ndarray
    subject: str


@dataclass(frozen=True)
class Scene:
    """A reference picture, ``(S, S, 3)`` uint8, and its edits."""

    reference: np.ndarray
    triplets: tuple[SceneTriplet, ...]


@dataclass(frozen=True)
class _Stage:
    """What the edits of a scene have in common."""

    size: int
    visible: tuple[int, int, int, int]  # left, top, right, bottom
    colors: tuple[str, ...]  # those that stand out from the background
    objects: tuple[DrawnObject, ...]


@dataclass(frozen=True)
class _Change:
    edit: str
    key: tuple[object, ...]  # equal keys: the same edit
    before: DrawnObject | None
    after: DrawnObject | None
    text: str = ""
    subject: str = ""


# ------------------------------------------------------------------------------------------------------- objects


def _outside(thing: DrawnObject, others: Sequence[DrawnObject], visible: tuple[int, int, int, int]) -> bool:
    """Whether the object lies within the visible picture and clear of all others."""
    reach = thing.radius + 1
    left, top, right, bottom = visible
    if not (left + reach <= thing.x <= right - reach and top + reach <= thing.y <= bottom - reach):
        return False
    return all(math.hypot(thing.x - o.x, thing.y - o.y) > reach + o.radius + 1 for o in others)


def _at(stage: _Stage, thing: DrawnObject, u: float, v: float) -> DrawnObject:
    left, top, right, bottom = stage.visible
    return replace(thing, u=u, v=v, x=left + u * (right - left), y=top + v * (bottom - top))


def _place(
    rng: np.random.Generator,
    stage: _Stage,
    thing: DrawnObject,
    others: Sequence[DrawnObject],
    region: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0),
) -> DrawnObject | None:
    """Finds a free place whose centre is within the region (fractions of the visible picture)."""
    left, top, right, bottom = stage.visible
    ru, rv = (thing.radius + 1.1) / (right - left), (thing.radius + 1.1) / (bottom - top)
    u0, u1, v0, v1 = max(region[0], ru), min(region[1], 1 - ru), max(region[2], rv), min(region[3], 1 - rv)
    if u0 > u1 or v0 > v1:
        return None
    for _ in range(30):
        placed = _at(stage, thing, u0 + rng.random() * (u1 - u0), v0 + rng.random() * (v1 - v0))
        if _outside(placed, others, stage.visible):
            return placed
    return None


def _looks(rng: np.random.Generator, count: int, colors: Sequence[str]) -> list[tuple[str, str, str]]:
    """Shapes, colours and sizes of a scene, all different, often sharing some of them."""
    mode = rng.random()  # below 0.45: forced to share; above 0.75: shapes and colours all different
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))]
    hues = [colors[i] for i in rng.permutation(len(colors))]
    sizes = ("small", "large")
    out: list[tuple[str, str, str]] = []
    for index in range(count):
        shape, color, size = pick(rng, shapes), pick(rng, hues), pick(rng, sizes)
        if mode > 0.75:
            shape, color = shapes[index], hues[index % len(hues)]
        elif mode < 0.45 and index % 2:
            other, what = out[index - 1], rng.random()
            shape = other[0] if what < 0.7 else shape
            color = other[1] if what > 0.4 else color
            size = sizes[other[2] == "small"] if what < 0.85 else size
        while (shape, color, size) in out:
            shape, color, size = pick(rng, shapes), pick(rng, hues), pick(rng, sizes)
        out.append((shape, color, size))
    return out


def _stage(rng: np.random.Generator, size: int, colors: tuple[str, ...]) -> _Stage:
    visible = (0, 0, size, size)
    if rng.random() < 0.15:
        bar = max(1, round((0.03 + 0.095 * rng.random()) * size))
        visible = (bar, 0, size - bar, size) if rng.random() < 0.5 else (0, bar, size, size - bar)
    stage = _Stage(size, visible, colors, ())
    count = int(np.searchsorted((0.08, 0.24, 0.46, 0.68, 0.86), rng.random())) + 1
    objects: list[DrawnObject] = []
    for look in _looks(rng, count, colors):
        if placed := _place(rng, stage, make_object(rng, *look, size), objects):
            objects.append(placed)
    return replace(stage, objects=tuple(objects))


# ---------------------------------------------------------------------------------------------------------- edits


def _others(stage: _Stage, thing: DrawnObject) -> list[DrawnObject]:
    return [other for other in stage.objects if other is not thing]


def _spoken(
    rng: np.random.Generator, stage: _Stage, thing: DrawnObject, templates: str, **values: str
) -> tuple[str, str]:
    """The sentence, and the description of the object in it."""
    subject = describe(rng, stage.objects, stage.objects.index(thing))
    return sentence(rng, TEMPLATES[templates], {"subject": subject, **values}), subject


def _recolour(rng: np.random.Generator, stage: _Stage, thing: DrawnObject) -> _Change | None:
    color = pick(rng, [c for c in stage.colors if c != thing.color])
    old = word(rng, COLOR_WORDS[thing.color])
    text, subject = _spoken(rng, stage, thing, "recolour", color=word(rng, COLOR_WORDS[color]), old=old)
    after = replace(thing, color=color, rgb=shown_color(rng, color))
    return _Change("recolour", ("recolour", thing, color), thing, after, text, subject)


def _reshape(rng: np.random.Generator, stage: _Stage, thing: DrawnObject) -> _Change | None:
    shape = pick(rng, [s for s in SHAPES if s != thing.shape])
    noun = with_article(word(rng, SHAPE_WORDS[shape]))
    text, subject = _spoken(rng, stage, thing, "reshape", shape=noun)
    return _Change("reshape", ("reshape", thing, shape), thing, replace(thing, shape=shape), text, subject)


def _resize(rng: np.random.Generator, stage: _Stage, thing: DrawnObject) -> _Change | None:
    size, templates = ("large", "larger") if thing.size == "small" else ("small", "smaller")
    after = replace(thing, size=size, radius=random_radius(rng, size, stage.size))
    if not _outside(after, _others(stage, thing), stage.visible):
        after = replace(after, radius=DIAMETERS[size][0] * stage.size / 2)
    if not _outside(after, _others(stage, thing), stage.visible):
        return None
    text, subject = _spoken(rng, stage, thing, templates)
    return _Change("resize", ("resize", thing), thing, after, text, subject)


def _remove(rng: np.random.Generator, stage: _Stage, thing: DrawnObject) -> _Change | None:
    text, subject = _spoken(rng, stage, thing, "remove")
    return _Change("remove", ("remove", thing), thing, None, text, subject)


def _move(rng: np.random.Generator, stage: _Stage, thing: DrawnObject) -> _Change | None:
    place = pick(rng, tuple(_REGIONS)) if rng.random() < 0.4 else pick(rng, tuple(DIRECTIONS))
    left, top, right, bottom = stage.visible
    du, dv = 0.25 * stage.size / (right - left), 0.25 * stage.size / (bottom - top)
    u, v = thing.u, thing.v
    region = {
        "left": (0.0, u - du, v - 0.08, v + 0.08),
        "right": (u + du, 1.0, v - 0.08, v + 0.08),
        "top": (u - 0.08, u + 0.08, 0.0, v - dv),
        "bottom": (u - 0.08, u + 0.08, v + dv, 1.0),
    }.get(place, _REGIONS[place])
    after = _place(rng, stage, thing, _others(stage, thing), region)
    if after is None or math.hypot(after.x - thing.x, after.y - thing.y) < 0.25 * stage.size:
        return None
    templates = "move to"
    if place in DIRECTIONS:
        along = {"left": after.u, "right": 1 - after.u, "top": after.v, "bottom": 1 - after.v}[place]
        templates = "move along" if along > 0.42 or rng.random() < 0.4 else "move to"
    where, goal = PLACES[place]
    values = {"where": pick(rng, where), "place": pick(rng, goal), "direction": DIRECTIONS.get(place, "")}
    text, subject = _spoken(rng, stage, thing, templates, **values)
    return _Change("move", ("move", thing, place), thing, after, text, subject)


def _add(rng: np.random.Generator, stage: _Stage) -> _Change | None:
    place = pick(rng, tuple(_REGIONS))
    shape, color, size = pick(rng, SHAPES), pick(rng, stage.colors), pick(rng, ("small", "large"))
    after = _place(rng, stage, make_object(rng, shape, color, size, stage.size), stage.objects, _REGIONS[place])
    if after is None:
        return None
    said = ("size", "color", "shape") if rng.random() < 0.3 else ("color", "shape")
    thing = with_article(name(rng, after, said))
    text = sentence(rng, TEMPLATES["add"], {"thing": thing, "where": pick(rng, PLACES[place][0])})
    return _Change("add", ("add", shape, color, place), None, after, text, thing)


_EDITORS: dict[str, Callable[[np.random.Generator, _Stage, DrawnObject], _Change | None]] = {
    "recolour": _recolour,
    "reshape": _reshape,
    "resize": _resize,
    "remove": _remove,
    "move": _move,
}


def _changes(rng: np.random.Generator, stage: _Stage, count: int) -> list[_Change]:
    """Plans different edits; half of the time the first two are of one kind on different objects."""
    changes: list[_Change] = []
    kinds = [EDITS[i] for i in rng.permutation(len(EDITS))]
    twins = count > 1 and len(stage.objects) > 1 and rng.random() < 0.5
    if twins:
        kinds.insert(1, kinds[0])
    for attempt in range(40 * count):
        kind = kinds[len(changes) % len(kinds)]
        change = None
        if kind == "add":
            change = _add(rng, stage)
        elif stage.objects:
            change = _EDITORS[kind](rng, stage, pick(rng, stage.objects))
        same_object = twins and len(changes) == 1 and kind != "add" and change and change.before is changes[0].before
        if change and not same_object and all(change.key != other.key for other in changes):
            changes.append(change)
            if len(changes) == count:
                return changes
        elif attempt % 8 == 7:  # this kind does not fit here
            kinds[len(changes) % len(kinds)] = pick(rng, EDITS)
    return changes


# ------------------------------------------------------------------------------------------------------ pictures


def _render(
    rng: np.random.Generator, stage: _Stage, backdrop: Floats, changes: Sequence[_Change], *, noise: bool
) -> Scene:
    """Draws the reference and all targets under the same conditions."""
    size = stage.size
    plain = backdrop.copy()
    for thing in stage.objects:
        where, alpha, color = sprite(thing, size)
        plain[where] += alpha * (color - plain[where])
    pictures = np.repeat(plain[None], 1 + len(changes), axis=0)
    masks: list[tuple[np.ndarray, np.ndarray]] = []
    for picture, change in zip(pictures[1:], changes, strict=True):
        pair = []
        for edited, gone in ((change.before, True), (change.after, False)):
            if edited is None:
                continue
            where, alpha, color = sprite(edited, size)
            picture[where] += (
                (alpha > 0) * (backdrop[where] - picture[where]) if gone else alpha * (color - picture[where])
            )
            mask = np.zeros((size, size), dtype=bool)
            mask[where] = alpha[..., 0] >= 0.5
            pair.append(mask)
        masks.append((pair[0], pair[-1]))
    shown = photograph(rng, pictures, noise=noise)
    left, top, right, bottom = stage.visible
    shown[:, :top], shown[:, bottom:], shown[:, :, :left], shown[:, :, right:] = _BAR, _BAR, _BAR, _BAR
    triplets = tuple(
        SceneTriplet(change.edit, change.text, picture, *pair, change.subject)
        for change, picture, pair in zip(changes, shown[1:], masks, strict=True)
    )
    return Scene(shown[0], triplets)


def _check(size: int, edits: int) -> None:
    if not 32 <= size <= 512:
        raise InputError(f"size must be between 32 and 512 pixels, got {size}")
    if not 1 <= edits <= 16:
        raise InputError(f"edits must be between 1 and 16, got {edits}")


def _generate(rng: np.random.Generator, size: int, edits: int, *, noise: bool = True) -> tuple[Scene, _Stage]:
    """A scene together with the objects it was made from."""
    _check(size, edits)
    changes: list[_Change] = []
    while len(changes) < edits:  # a crowded scene may leave no room for so many edits: take another
        backdrop = background(rng, size)
        stage = _stage(rng, size, distinct(backdrop))
        changes = _changes(rng, stage, edits)
    changes = [changes[i] for i in rng.permutation(edits)]
    return _render(rng, stage, backdrop, changes, noise=noise), stage


def generate_scene(rng: np.random.Generator, *, size: int = 96, edits: int = 4) -> Scene:
    """Generates one scene and its edits.

    Args:
        rng: Decides everything; equal states give equal scenes.
        size: Side of the square pictures in pixels, 32 to 512.
        edits: Number of edits, 1 to 16; all differ.

    Returns:
        The reference picture and one triplet per edit.

    Raises:
        InputError: If ``size`` or ``edits`` is out of range.
    """
    return _generate(rng, size, edits)[0]


def scenes(seed: int, count: int, *, size: int = 96, edits: int = 4, start: int = 0) -> Iterator[Scene]:
    """Generates scenes ``start`` to ``start + count - 1`` of the endless series that belongs to a seed.

    Args:
        seed: Names the series; not negative.
        count: How many scenes to give.
        size: Side of the square pictures in pixels, 32 to 512.
        edits: Number of edits per scene, 1 to 16.
        start: Index of the first scene; scene ``i`` depends on the seed and ``i`` alone.

    Returns:
        An iterator over the scenes in order.

    Raises:
        InputError: If a number is out of range.
    """
    for label, value in (("seed", seed), ("count", count), ("start", start)):
        if value < 0:
            raise InputError(f"{label} must not be negative, got {value}")
    _check(size, edits)
    indices = range(start, start + count)
    return (generate_scene(np.random.default_rng([seed, i]), size=size, edits=edits) for i in indices)
