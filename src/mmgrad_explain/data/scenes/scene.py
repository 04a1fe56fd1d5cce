"""Generates scenes and edits of them: composed-retrieval triplets with exact masks.

A scene is a background with one to six coloured shapes. Each triplet asks for one edit in words and shows the edited
scene. Background, other objects and photographic conditions stay the same; only the sensor noise differs between
images. Equal seeds give equal scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scenes.backgrounds import cut_backdrop, draw_background, find_distinct_colors
from mmgrad_explain.data.scenes.camera import photograph
from mmgrad_explain.data.scenes.drawing import COLORS, SHAPES, draw_sprite
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.planning import make_stage, plan_edits
from mmgrad_explain.data.scenes.text import pick
from mmgrad_explain.data.scenes.words import SIZE_WORDS
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.data.scenes.drawing import Box, DrawnObject, Floats, Sprite
    from mmgrad_explain.data.scenes.planning import SceneEdit, Stage
    from mmgrad_explain.data.scenes.text import SceneObject


LABELS: dict[str, tuple[str, ...]] = {"color": tuple(COLORS), "shape": SHAPES, "size": tuple(SIZE_WORDS)}
"""The channels of a label map, and the meaning of the values 1, 2, ... in each; 0 is the background."""

_BAR = 127  # grey of the letterbox bars
_TRAINING = SceneOptions()


@dataclass(frozen=True)
class SceneTriplet:
    """One edit of a scene.

    Attributes:
        edit: The kind of edit, one of :data:`~mmgrad_explain.data.scenes.planning.EDITS`.
        text: The modifier text, in words of :data:`~mmgrad_explain.data.scenes.text.VOCABULARY`.
        target: The edited image, ``(S, S, 3)`` uint8.
        reference_mask: The edited objects in the reference, ``(S, S)`` bool; for ``add`` the place of the new one.
        target_mask: The edited objects in the target; for ``remove`` the places they left.
        subject: How the objects are described, for example ``"the small star"``, or ``"the small star and the ring"``.
        labels: Label map of the target, ``(3, S, S)`` uint8 (see :data:`LABELS`), or None.
        objects: The edited objects as they are in the reference; for ``add`` the new one.
    """

    edit: str
    text: str
    target: np.ndarray
    reference_mask: np.ndarray
    target_mask: np.ndarray
    subject: str
    labels: np.ndarray | None = None
    objects: tuple[SceneObject, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A reference image and its edits.

    Attributes:
        reference: ``(S, S, 3)`` uint8.
        triplets: The edits.
        labels: Label map of the reference, ``(3, S, S)`` uint8 (see :data:`LABELS`), or None.
        objects: The objects of the reference.
    """

    reference: np.ndarray
    triplets: tuple[SceneTriplet, ...]
    labels: np.ndarray | None = None
    objects: tuple[DrawnObject, ...] = ()


class _Canvas:
    """An image that is being drawn, with its label map.

    Attributes:
        image: ``(S, S, 3)``.
        labels: ``(3, S, S)`` or None.
    """

    def __init__(self, image: Floats, labels: np.ndarray | None) -> None:
        self.image = image
        self.labels = labels
        self._boxes: list[Box] = []

    def copy(self) -> _Canvas:
        return _Canvas(self.image.copy(), None if self.labels is None else self.labels.copy())

    def draw(self, thing: DrawnObject, drawn: Sprite, mask: np.ndarray) -> None:
        """Draw an object and mark its place in the mask."""
        where, alpha, color = drawn
        part = self.image[where]
        part += alpha * (color - part)
        solid = self._mark(where, alpha, mask)
        if self.labels is not None:
            for channel, (attribute, names) in zip(self.labels, LABELS.items(), strict=True):
                channel[where][solid] = 1 + names.index(getattr(thing, attribute))

    def erase(self, drawn: Sprite, backdrop: Floats, mask: np.ndarray) -> None:
        """Restore the backdrop where an object was drawn, and mark the place in the mask."""
        where, alpha, _ = drawn
        np.copyto(self.image[where], backdrop[where], where=alpha > 0)
        solid = self._mark(where, alpha, mask)
        if self.labels is not None:
            self.labels[(slice(None), *where)][:, solid] = 0

    def _mark(self, where: Box, alpha: Floats, mask: np.ndarray) -> np.ndarray:
        self._boxes.append(where)
        solid: np.ndarray = alpha[..., 0] >= 0.5
        mask[where] |= solid
        return solid

    @property
    def box(self) -> Box:
        """The smallest box around everything that was drawn and erased."""
        rows, columns = (
            slice(min(box[axis].start for box in self._boxes), max(box[axis].stop for box in self._boxes))
            for axis in (0, 1)
        )
        return rows, columns


def _render(
    rng: np.random.Generator, stage: Stage, backdrop: Floats, changes: Sequence[SceneEdit], *, labels: bool
) -> Scene:
    """Draw the reference and all targets under the same photographic conditions."""
    size = stage.size
    sprites = {thing: draw_sprite(thing, size) for thing in stage.objects}
    reference = _Canvas(backdrop.copy(), np.zeros((3, size, size), dtype=np.uint8) if labels else None)
    occupied = np.zeros((size, size), dtype=bool)
    for thing, drawn in sprites.items():
        reference.draw(thing, drawn, occupied)
    masks: list[tuple[np.ndarray, np.ndarray]] = []
    targets: list[_Canvas] = []
    for change in changes:
        before, after = np.zeros((2, size, size), dtype=bool)
        target = reference.copy()
        for thing in change.before:
            target.erase(sprites[thing], backdrop, before)
        for thing in change.after:
            target.draw(thing, draw_sprite(thing, size), after)
        masks.append((before if change.before else after, after if change.after else before))
        targets.append(target)
    edited = [(target.image, target.box) for target in targets]
    taken = photograph(rng, reference.image, edited, noise=stage.options.noise)
    left, top, right, bottom = stage.visible
    taken[:, :top], taken[:, bottom:], taken[:, :, :left], taken[:, :, right:] = _BAR, _BAR, _BAR, _BAR
    triplets = tuple(
        SceneTriplet(
            change.edit, change.text, image, *pair, change.subject, target.labels, change.before or change.after
        )
        for change, image, pair, target in zip(changes, taken[1:], masks, targets, strict=True)
    )
    return Scene(taken[0], triplets, reference.labels, stage.objects)


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
    """Generate a scene, and return it with the stage that it was made from."""
    _check(size, edits)
    changes: list[SceneEdit] = []
    while len(changes) < edits:  # a crowded scene may leave no room for so many edits: then draw another
        backdrop = (
            cut_backdrop(rng, pick(rng, options.backdrops), size) if options.backdrops else draw_background(rng, size)
        )
        stage = make_stage(rng, size, find_distinct_colors(backdrop), options)
        if len(stage.objects) >= options.objects[0]:
            changes = plan_edits(rng, stage, edits)
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
    """Generate one scene and its edits.

    Args:
        rng: Decides everything; equal states give equal scenes.
        size: Side of the square images in pixels, 32 to 512.
        edits: Number of edits, 1 to 16; all differ.
        labels: Whether to draw label maps; the images are the same either way.
        options: Which scenes; those of training by default.

    Returns:
        The reference image and one triplet for each edit.

    Raises:
        InputError: ``size`` or ``edits`` is out of range.
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
    """Generate scenes ``start`` to ``start + count - 1`` of the endless series that belongs to a seed.

    Args:
        seed: Names the series; not negative.
        count: Number of scenes.
        size: Side of the square images in pixels, 32 to 512.
        edits: Number of edits per scene, 1 to 16.
        start: Index of the first scene; scene ``i`` depends on the seed, ``i`` and the options alone.
        labels: Whether to draw label maps.
        options: Which scenes; those of training by default.

    Returns:
        An iterator over the scenes in order.

    Raises:
        InputError: A number is out of range.
    """
    for label, value in (("seed", seed), ("count", count), ("start", start)):
        if value < 0:
            raise InputError(f"{label} must not be negative, got {value}")
    _check(size, edits)
    return (
        generate_scene(np.random.default_rng([seed, i]), size=size, edits=edits, labels=labels, options=options)
        for i in range(start, start + count)
    )
