"""Plans a scene: its objects, the edits of them, and their texts."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from mmgrad_explain.data.scenes.drawing import (
    DIAMETERS,
    SHAPES,
    DrawnObject,
    draw_radius,
    make_object,
    vary_color,
)
from mmgrad_explain.data.scenes.options import HELD_OUT_PAIRS
from mmgrad_explain.data.scenes.templates import SENTENCES
from mmgrad_explain.data.scenes.text import add_article, describe_object, fill_template, name_object, pick, pick_word
from mmgrad_explain.data.scenes.words import COLOR_WORDS, DIRECTIONS, PLACES, SHAPE_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mmgrad_explain.data.scenes.options import SceneOptions

EDITS = ("recolour", "reshape", "resize", "remove", "move", "add", "swap")
"""Every kind of edit of a scene."""

TWO_SHARE = 0.085
"""Share of the sentences about two objects, where the scene allows it; ``swap`` always has two."""

_COUNTS = (0.08, 0.24, 0.46, 0.68, 0.86)  # cumulative shares of scenes with 1, 2, ... objects
_OTHER_SIZE = {"small": "large", "large": "small"}
_SINGLE = EDITS[:-1]
_DOUBLE = ("recolour", "resize", "resize", "remove", "swap", "swap")

_Look: TypeAlias = tuple[str, str, str]
_Things: TypeAlias = "tuple[DrawnObject, ...]"
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
class Stage:
    """The scene before any edit.

    Attributes:
        size: Side of the image in pixels.
        visible: Left, top, right and bottom of the part inside the letterbox bars.
        colors: Colours that stand out from the background.
        options: Which objects and words may occur.
        objects: The objects; no two have the same shape, colour and size.
    """

    size: int
    visible: tuple[int, int, int, int]
    colors: tuple[str, ...]
    options: SceneOptions
    objects: tuple[DrawnObject, ...] = ()


@dataclass(frozen=True)
class SceneEdit:
    """One edit: the objects before and after it, and its text.

    Attributes:
        edit: One of :data:`EDITS`.
        key: The same for edits that mean the same.
        before: The edited objects in the reference.
        after: The same objects in the target.
        text: The modifier text.
        subject: The description of the objects in it.
    """

    edit: str
    key: tuple[object, ...]
    before: tuple[DrawnObject, ...]
    after: tuple[DrawnObject, ...]
    text: str
    subject: str


# ------------------------------------------------------------------------------------------------------- objects


def _fits(x: float, y: float, radius: float, others: Sequence[DrawnObject], stage: Stage) -> bool:
    """Return whether an object there is inside the visible image and does not touch another."""
    reach = radius + 1
    left, top, right, bottom = stage.visible
    if not (left + reach <= x <= right - reach and top + reach <= y <= bottom - reach):
        return False
    reach += 1
    for other in others:  # noqa: SIM110 - all() takes twice as long, and this runs for every try
        if math.hypot(x - other.x, y - other.y) <= reach + other.radius:
            return False
    return True


def _move_to(stage: Stage, thing: DrawnObject, u: float, v: float) -> DrawnObject:
    left, top, right, bottom = stage.visible
    return replace(thing, u=u, v=v, x=left + u * (right - left), y=top + v * (bottom - top))


def _place(
    rng: np.random.Generator,
    stage: Stage,
    thing: DrawnObject,
    others: Sequence[DrawnObject],
    region: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0),
) -> DrawnObject | None:
    """Find a free place with its centre in the region (fractions of the visible image)."""
    left, top, right, bottom = stage.visible
    width, height = right - left, bottom - top
    ru, rv = (thing.radius + 1.1) / width, (thing.radius + 1.1) / height
    u0, u1, v0, v1 = max(region[0], ru), min(region[1], 1 - ru), max(region[2], rv), min(region[3], 1 - rv)
    if u0 > u1 or v0 > v1:
        return None
    for _ in range(30):
        u, v = u0 + rng.random() * (u1 - u0), v0 + rng.random() * (v1 - v0)
        if _fits(left + u * width, top + v * height, thing.radius, others, stage):
            return _move_to(stage, thing, u, v)
    return None


def _looks(rng: np.random.Generator, count: int, colors: Sequence[str], options: SceneOptions) -> list[_Look]:
    """Draw different combinations of shape, colour and size, which often share some of the three."""
    mode = rng.random()  # below 0.45: forced to share; above 0.75: shapes and colours all different
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))]
    hues = [colors[i] for i in rng.permutation(len(colors))]
    sizes = ("small", "large") if count <= 6 else ("small", "small", "large")
    out: list[_Look] = []
    for index in range(count):
        shape, color, size = pick(rng, shapes), pick(rng, hues), pick(rng, sizes)
        if mode > 0.75:
            shape, color = shapes[index % len(shapes)], hues[index % len(hues)]
        elif mode < 0.45 and index % 2:
            other, what = out[index - 1], rng.random()
            shape = other[0] if what < 0.7 else shape
            color = other[1] if what > 0.4 else color
            size = _OTHER_SIZE[other[2]] if what < 0.85 else size
        if options.pairs == "held-out" and (index == 0 or rng.random() < 0.5):
            shape, color = _held_out(rng, colors)
        while (shape, color, size) in out or not options.allows(shape, color):
            shape, color, size = pick(rng, shapes), pick(rng, hues), pick(rng, sizes)
        out.append((shape, color, size))
    return out


def _held_out(rng: np.random.Generator, colors: Sequence[str]) -> tuple[str, str]:
    """Draw a held-out pair with one of these colours."""
    return pick(rng, [pair for pair in sorted(HELD_OUT_PAIRS) if pair[1] in colors])


def make_stage(rng: np.random.Generator, size: int, colors: tuple[str, ...], options: SceneOptions) -> Stage:
    """Draw the objects of a scene.

    Args:
        rng: The source of variety.
        size: Side of the image in pixels.
        colors: Colours that stand out from the background, at least five.
        options: Which objects may occur, and how many.

    Returns:
        The objects in their places; objects that find no room are left out.
    """
    visible = (0, 0, size, size)
    if rng.random() < 0.15:
        bar = max(1, round((0.03 + 0.095 * rng.random()) * size))
        visible = (bar, 0, size - bar, size) if rng.random() < 0.5 else (0, bar, size, size - bar)
    stage = Stage(size, visible, colors, options)
    low, high = options.objects
    count = low + int(rng.random() * (high - low + 1))
    if (low, high) == (1, 6):
        count = 1 + bisect(_COUNTS, rng.random())
    objects: list[DrawnObject] = []
    for look in _looks(rng, count, colors, options):
        if placed := _place(rng, stage, make_object(rng, *look, size), objects):
            objects.append(placed)
    return replace(stage, objects=tuple(objects))


# ---------------------------------------------------------------------------------------------------------- edits


def _others(stage: Stage, things: Sequence[DrawnObject]) -> list[DrawnObject]:
    return [other for other in stage.objects if other not in things]


def _write_sentence(
    rng: np.random.Generator, stage: Stage, things: Sequence[DrawnObject], templates: str, **values: str
) -> tuple[str, str]:
    """Make the sentence, and the description of the objects in it."""
    # "move the star above the ring" could be read in two ways, and so could "the star above the ring and the heart"
    clear = len(things) == 1 and not templates.startswith("move")
    shares = {"relations": stage.options.relations if clear else 0.0, "places": stage.options.places}
    subjects = [describe_object(rng, stage.objects, stage.objects.index(o), **shares) for o in things]
    values |= {"subject": " and ".join(subjects), "first": subjects[0], "second": subjects[-1]}
    if len(things) == 2 and templates != "swap":
        templates += " two"
    return fill_template(rng, SENTENCES[stage.options.templates][templates], values), values["subject"]


def _recolour(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    known = {thing.color for thing in things}
    colors = [c for c in stage.colors if c not in known and all(stage.options.allows(o.shape, c) for o in things)]
    if not colors:
        return None
    color, old = pick(rng, colors), pick_word(rng, COLOR_WORDS[things[0].color])
    text = _write_sentence(rng, stage, things, "recolour", color=pick_word(rng, COLOR_WORDS[color]), old=old)
    after = tuple(replace(thing, color=color, rgb=vary_color(rng, color)) for thing in things)
    return SceneEdit("recolour", ("recolour", {*things}, color), things, after, *text)


def _reshape(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    (thing,) = things
    shape = pick(rng, [s for s in SHAPES if s != thing.shape and stage.options.allows(s, thing.color)])
    noun = add_article(pick_word(rng, SHAPE_WORDS[shape]))
    text = _write_sentence(rng, stage, things, "reshape", shape=noun)
    return SceneEdit("reshape", ("reshape", {*things}, shape), things, (replace(thing, shape=shape),), *text)


def _resize(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    size, templates = ("large", "larger") if things[0].size == "small" else ("small", "smaller")
    if any(thing.size == size for thing in things):
        return None
    others = _others(stage, things)
    after: tuple[DrawnObject, ...] = ()
    for thing in things:
        new = replace(thing, size=size, radius=draw_radius(rng, size, stage.size))
        near = (*others, *after)
        if not _fits(thing.x, thing.y, new.radius, near, stage):
            new = replace(new, radius=DIAMETERS[size][0] * stage.size / 2)
        if not _fits(thing.x, thing.y, new.radius, near, stage):
            return None
        after += (new,)
    text = _write_sentence(rng, stage, things, templates)
    return SceneEdit("resize", ("resize", {*things}), things, after, *text)


def _remove(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    text = _write_sentence(rng, stage, things, "remove")
    return SceneEdit("remove", ("remove", {*things}), things, (), *text)


def _swap(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    first, second = things
    after = (_move_to(stage, first, second.u, second.v), _move_to(stage, second, first.u, first.v))
    others = _others(stage, things)
    if not all(_fits(thing.x, thing.y, thing.radius, others, stage) for thing in after):
        return None
    text = _write_sentence(rng, stage, things, "swap")
    return SceneEdit("swap", ("swap", {*things}), things, after, *text)


def _move(rng: np.random.Generator, stage: Stage, things: _Things) -> SceneEdit | None:
    (thing,) = things
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
    after = _place(rng, stage, thing, _others(stage, things), region)
    if after is None or math.hypot(after.x - thing.x, after.y - thing.y) < 0.25 * stage.size:
        return None
    templates = "move to"
    if place in DIRECTIONS:
        along = {"left": after.u, "right": 1 - after.u, "top": after.v, "bottom": 1 - after.v}[place]
        templates = "move along" if along > 0.42 or rng.random() < 0.4 else "move to"
    where, goal = PLACES[place]
    values = {"where": pick(rng, where), "place": pick(rng, goal), "direction": DIRECTIONS.get(place, "")}
    text = _write_sentence(rng, stage, things, templates, **values)
    return SceneEdit("move", ("move", {*things}, place), things, (after,), *text)


def _add(rng: np.random.Generator, stage: Stage) -> SceneEdit | None:
    place = pick(rng, tuple(_REGIONS))
    shape, color, size = pick(rng, SHAPES), pick(rng, stage.colors), pick(rng, ("small", "large"))
    if stage.options.pairs == "held-out":
        shape, color = _held_out(rng, stage.colors)
    elif not stage.options.allows(shape, color):
        return None
    after = _place(rng, stage, make_object(rng, shape, color, size, stage.size), stage.objects, _REGIONS[place])
    if after is None:
        return None
    attributes = ("size", "color", "shape") if rng.random() < 0.3 else ("color", "shape")
    thing = add_article(name_object(rng, after, attributes))
    templates = SENTENCES[stage.options.templates]["add"]
    text = fill_template(rng, templates, {"thing": thing, "where": pick(rng, PLACES[place][0])})
    return SceneEdit("add", ("add", shape, color, place), (), (after,), text, thing)


_EDITORS: dict[str, Callable[[np.random.Generator, Stage, _Things], SceneEdit | None]] = {
    "recolour": _recolour,
    "reshape": _reshape,
    "resize": _resize,
    "remove": _remove,
    "move": _move,
    "swap": _swap,
}


def _change(rng: np.random.Generator, stage: Stage, subjects: _Things, kind: str, *, two: bool) -> SceneEdit | None:
    """Plan an edit of one kind, or of a kind that suits two objects; None if there is no room."""
    if two:
        first = pick(rng, subjects)
        second = pick(rng, [thing for thing in subjects if thing is not first])
        return _EDITORS[pick(rng, _DOUBLE)](rng, stage, (first, second))
    if kind == "add":
        return _add(rng, stage)
    return _EDITORS[kind](rng, stage, (pick(rng, subjects),)) if subjects else None


def plan_edits(rng: np.random.Generator, stage: Stage, count: int) -> list[SceneEdit]:
    """Plan different edits; half of the time the first two are of one kind on different objects.

    Args:
        rng: The source of variety.
        stage: The scene.
        count: Number of edits.

    Returns:
        The edits, fewer than ``count`` if the scene has no room for so many.
    """
    subjects = tuple(thing for thing in stage.objects if stage.options.wants(thing))
    changes: list[SceneEdit] = []
    kinds = [_SINGLE[i] for i in rng.permutation(len(_SINGLE))]
    twins = count > 1 and len(subjects) > 1 and rng.random() < 0.5
    if twins:
        kinds.insert(1, kinds[0])
    two = len(subjects) > 1 and rng.random() < TWO_SHARE
    for attempt in range(40 * count):
        change = _change(rng, stage, subjects, kinds[len(changes) % len(kinds)], two=two)
        same_object = twins and len(changes) == 1 and change and {*change.before} & {*changes[0].before}
        if change and not same_object and all(change.key != other.key for other in changes):
            changes.append(change)
            if len(changes) == count:
                return changes
            two = len(subjects) > 1 and rng.random() < TWO_SHARE
        elif attempt % 8 == 7:  # this kind does not fit here
            kinds[len(changes) % len(kinds)] = pick(rng, _SINGLE)
            two = False
    return changes
