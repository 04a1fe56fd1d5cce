"""Options of generated scenes. The defaults are the scenes of training; others make scenes that training never sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scenes.text import PLACE_SHARE, RELATION_SHARE
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.data.scenes.text import SceneObject

HELD_OUT_PAIRS = frozenset(
    {
        ("circle", "cyan"),
        ("square", "pink"),
        ("triangle", "blue"),
        ("star", "orange"),
        ("heart", "green"),
        ("cross", "red"),
        ("ring", "purple"),
        ("crescent", "yellow"),
    }
)
"""Pairs of shape and colour that never occur in training, neither in images nor in texts."""

MOST_OBJECTS = 12


@dataclass(frozen=True, eq=False)
class SceneOptions:
    """Which scenes to draw; the defaults are those of training.

    Attributes:
        pairs: ``"training"`` keeps :data:`HELD_OUT_PAIRS` out; with ``"held-out"`` every object that a sentence edits
            or adds is one of them; ``"all"`` draws any.
        templates: ``"training"``, or ``"held-out"`` for sentence templates that training never uses; their words occur
            in training.
        objects: Fewest and most objects of a scene, 1 to 12. ``(1, 6)`` prefers three to five; other ranges are drawn
            evenly.
        backdrops: Images to draw the shapes on instead of drawn backgrounds, each ``(H, W, 3)`` uint8; each scene
            uses a random square of one of them.
        relations: Share of descriptions that place the object by another one ("the star left of the ring"), where
            that is possible.
        places: Share of descriptions that name the side ("the left star"), where that is possible.
        noise: Whether each image gets its own sensor noise.

    Raises:
        InputError: A value is unknown or out of range.
        TypeError: A backdrop is no array.
    """

    pairs: str = "training"
    templates: str = "training"
    objects: tuple[int, int] = (1, 6)
    backdrops: tuple[np.ndarray, ...] = ()
    relations: float = RELATION_SHARE
    places: float = PLACE_SHARE
    noise: bool = True

    def __post_init__(self) -> None:
        if self.pairs not in ("training", "held-out", "all"):
            raise InputError(f"pairs must be 'training', 'held-out' or 'all', got {self.pairs!r}")
        if self.templates not in ("training", "held-out"):
            raise InputError(f"templates must be 'training' or 'held-out', got {self.templates!r}")
        low, high = self.objects
        if not 1 <= low <= high <= MOST_OBJECTS:
            raise InputError(f"objects must be two numbers between 1 and {MOST_OBJECTS} in order, got ({low}, {high})")
        if not (self.relations >= 0 and self.places >= 0 and self.relations + self.places <= 1):
            got = f"{self.relations} and {self.places}"
            raise InputError(f"relations and places are shares of the descriptions and at most 1 together, got {got}")
        for backdrop in self.backdrops:
            if not isinstance(backdrop, np.ndarray):
                raise TypeError(f"backdrops must be arrays, got {type(backdrop).__name__}")
            if backdrop.dtype != np.uint8 or backdrop.ndim != 3 or backdrop.shape[2] != 3 or not backdrop.size:
                got = f"{backdrop.dtype} {backdrop.shape}"
                raise InputError(f"backdrops must be uint8 images of shape (H, W, 3), got {got}")

    def allows(self, shape: str, color: str) -> bool:
        """Return whether an image may contain the shape in this colour."""
        return self.pairs != "training" or (shape, color) not in HELD_OUT_PAIRS

    def wants(self, thing: SceneObject) -> bool:
        """Return whether the object may be edited."""
        return self.pairs != "held-out" or (thing.shape, thing.color) in HELD_OUT_PAIRS
