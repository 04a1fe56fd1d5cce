"""Composed-retrieval triplets from generated scenes, with the exact place of every edit.

A scene is a background with one to six coloured shapes. Each triplet asks for one edit in words and shows the edited
scene. Background, other objects and photographic conditions stay the same; only the sensor noise is drawn anew for
every picture. Equal seeds give equal scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scene_drawing import COLORS, SHAPES, background, cut, distinct, photograph, sprite
from mmgrad_explain.data.scene_edits import EDITS, make_stage, plan
from mmgrad_explain.data.scene_options import HELD_OUT_PAIRS, SceneOptions
from mmgrad_explain.data.scene_text import SIZE_WORDS, VOCABULARY, pick
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.data.scene_drawing import DrawnObject, Floats
    from mmgrad_explain.data.scene_edits import Change, Stage

__all__ = [
    "COLORS",
    "EDITS",
    "HELD_OUT_PAIRS",
    "LABELS",
    "SHAPES",
    "VOCABULARY",
    "Scene",
    "SceneOptions",
    "SceneTriplet",
    "generate_scene",
    "scenes",
]

LABELS: dict[str, tuple[str, ...]] = {"color": tuple(COLORS), "shape": SHAPES, "size": tuple(SIZE_WORDS)}
"""The channels of a label map, and what its values 1, 2, ... mean in each; 0 is the background."""

_BAR = 127  # grey of the letterbox bars
_TRAINING = SceneOptions()


@dataclass(frozen=True)
class SceneTriplet:
    """One edit of a scene.

    Attributes:
        edit: The kind of edit, one of :data:`EDITS`.
        text: What is asked for, in words of :data:`VOCABULARY`.
        target: The edited picture, ``(S, S, 3)`` uint8.
        reference_mask: The edited objects in the reference, ``(S, S)`` bool; for ``add`` the place where one will be.
        target_mask: The edited objects in the target; for ``remove`` the places they left.
        subject: How the objects are described, for example ``"the small star"``, or ``"the small star and the ring"``.
        labels: What the target shows where, ``(3, S, S)`` uint8 (see :data:`LABELS`); None unless asked for.
    """

    edit: str
    text: str
    target: np.ndarray
    reference_mask: np.ndarray
    target_mask: np.ndarray
    subject: str
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Scene:
    """A reference picture and its edits.

    Attributes:
        reference: ``(S, S, 3)`` uint8.
        triplets: The edits.
        labels: What the reference shows where, ``(3, S, S)`` uint8 (see :data:`LABELS`); None unless asked for.
    """

    reference: np.ndarray
    triplets: tuple[SceneTriplet, ...]
    labels: np.ndarray | None = None


def _draw(thing: DrawnObject, picture: Floats, mask: np.ndarray, labels: np.ndarray | None) -> None:
    """Draws an object, adds its place to the mask, and says in the labels what it is."""
    where, alpha, color = sprite(thing, len(picture))
    picture[where] += alpha * (color - picture[where])
    solid = alpha[..., 0] >= 0.5
    mask[where] |= solid
    if labels is not None:
        for channel, (attribute, names) in zip(labels, LABELS.items(), strict=True):
            channel[where][solid] = 1 + names.index(getattr(thing, attribute))


def _erase(thing: DrawnObject, picture: Floats, backdrop: Floats, mask: np.ndarray, labels: np.ndarray | None) -> None:
    """Puts the backdrop where the object was."""
    where, alpha, _ = sprite(thing, len(picture))
    picture[where] += (alpha > 0) * (backdrop[where] - picture[where])
    solid = alpha[..., 0] >= 0.5
    mask[where] |= solid
    if labels is not None:
        labels[(slice(None), *where)][:, solid] = 0


def _render(
    rng: np.random.Generator, stage: Stage, backdrop: Floats, changes: Sequence[Change], *, labels: bool
) -> Scene:
    """Draws the reference and all targets under the same conditions."""
    size = stage.size
    plain = backdrop.copy()
    seen = np.zeros((3, size, size), dtype=np.uint8) if labels else None
    unused = np.zeros((size, size), dtype=bool)
    for thing in stage.objects:
        _draw(thing, plain, unused, seen)
    pictures = np.repeat(plain[None], 1 + len(changes), axis=0)
    masks: list[tuple[np.ndarray, np.ndarray]] = []
    maps: list[np.ndarray | None] = []
    for picture, change in zip(pictures[1:], changes, strict=True):
        before, after = np.zeros((2, size, size), dtype=bool)
        shown = None if seen is None else seen.copy()
        for thing in change.before:
            _erase(thing, picture, backdrop, before, shown)
        for thing in change.after:
            _draw(thing, picture, after, shown)
        masks.append((before if change.before else after, after if change.after else before))
        maps.append(shown)
    taken = photograph(rng, pictures, noise=stage.options.noise)
    left, top, right, bottom = stage.visible
    taken[:, :top], taken[:, bottom:], taken[:, :, :left], taken[:, :, right:] = _BAR, _BAR, _BAR, _BAR
    triplets = tuple(
        SceneTriplet(change.edit, change.text, picture, *pair, change.subject, shown)
        for change, picture, pair, shown in zip(changes, taken[1:], masks, maps, strict=True)
    )
    return Scene(taken[0], triplets, seen)


def _check(size: int, edits: int) -> None:
    if not 32 <= size <= 512:
        raise InputError(f"size must be between 32 and 512 pixels, got {size}")
    if not 1 <= edits <= 16:
        raise InputError(f"edits must be between 1 and 16, got {edits}")


def _generate(
    rng: np.random.Generator,
    size: int,
    edits: int,
    *,
    labels: bool = False,
    options: SceneOptions = _TRAINING,
) -> tuple[Scene, Stage]:
    """A scene together with the objects it was made from."""
    _check(size, edits)
    changes: list[Change] = []
    while len(changes) < edits:  # a crowded scene may leave no room for so many edits: take another
        backdrop = cut(rng, pick(rng, options.backdrops), size) if options.backdrops else background(rng, size)
        stage = make_stage(rng, size, distinct(backdrop), options)
        if len(stage.objects) >= options.objects[0]:
            changes = plan(rng, stage, edits)
    changes = [changes[i] for i in rng.permutation(edits)]
    return _render(rng, stage, backdrop, changes, labels=labels), stage


def generate_scene(
    rng: np.random.Generator,
    *,
    size: int = 96,
    edits: int = 4,
    labels: bool = False,
    options: SceneOptions = _TRAINING,
) -> Scene:
    """Generates one scene and its edits.

    Args:
        rng: Decides everything; equal states give equal scenes.
        size: Side of the square pictures in pixels, 32 to 512.
        edits: Number of edits, 1 to 16; all differ.
        labels: Whether to say what every picture shows where. It changes nothing else.
        options: Which scenes; those of training by default.

    Returns:
        The reference picture and one triplet per edit.

    Raises:
        InputError: If ``size`` or ``edits`` is out of range.
    """
    return _generate(rng, size, edits, labels=labels, options=options)[0]


def scenes(
    seed: int,
    count: int,
    *,
    size: int = 96,
    edits: int = 4,
    start: int = 0,
    labels: bool = False,
    options: SceneOptions = _TRAINING,
) -> Iterator[Scene]:
    """Generates scenes ``start`` to ``start + count - 1`` of the endless series that belongs to a seed.

    Args:
        seed: Names the series; not negative.
        count: How many scenes to give.
        size: Side of the square pictures in pixels, 32 to 512.
        edits: Number of edits per scene, 1 to 16.
        start: Index of the first scene; scene ``i`` depends on the seed, ``i`` and the options alone.
        labels: Whether to say what every picture shows where.
        options: Which scenes; those of training by default.

    Returns:
        An iterator over the scenes in order.

    Raises:
        InputError: If a number is out of range.
    """
    for label, value in (("seed", seed), ("count", count), ("start", start)):
        if value < 0:
            raise InputError(f"{label} must not be negative, got {value}")
    _check(size, edits)
    return (
        generate_scene(np.random.default_rng([seed, i]), size=size, edits=edits, labels=labels, options=options)
        for i in range(start, start + count)
    )
