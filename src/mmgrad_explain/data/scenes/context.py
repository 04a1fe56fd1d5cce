"""Finds the second object of a description: in "the star left of the ring", the ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.scenes.drawing import draw_sprite
from mmgrad_explain.data.scenes.words import COLOR_WORDS, RELATIONS, SHAPE_WORDS, SIZE_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.data.scenes.drawing import DrawnObject

_LOOKS = {
    word: (attribute, value)
    for attribute, table in (("color", COLOR_WORDS), ("shape", SHAPE_WORDS), ("size", SIZE_WORDS))
    for value, words in table.items()
    for word in words
}
_FORMS = tuple(form for _, _, forms in RELATIONS.values() for form in forms)


def find_anchor(subject: str, objects: Sequence[DrawnObject]) -> DrawnObject | None:
    """Find the object that a description locates another one by.

    Args:
        subject: The description, for example ``"the star left of the small ring"``.
        objects: All objects of the scene.

    Returns:
        The object that fits all words after the relation; None without a relation.
    """
    phrases = [subject.partition(f" {form} the ")[2] for form in _FORMS]
    phrase = min(filter(None, phrases), key=len, default="")
    looks = [_LOOKS[word] for word in phrase.split() if word in _LOOKS]
    fitting = [thing for thing in objects if looks and all(getattr(thing, a) == value for a, value in looks)]
    return fitting[0] if len(fitting) == 1 else None


def draw_context_mask(subject: str, objects: Sequence[DrawnObject], size: int) -> npt.NDArray[np.bool_]:
    """Draw the mask of the object of :func:`find_anchor`, ``(size, size)`` bool; empty without one."""
    mask = np.zeros((size, size), bool)
    anchor = find_anchor(subject, objects)
    if anchor is not None:
        where, alpha, _ = draw_sprite(anchor, size)
        mask[where] = alpha[..., 0] >= 0.5
    return mask
