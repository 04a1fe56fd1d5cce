"""The words for generated scenes: appearance, sides, relations and places."""

from __future__ import annotations

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
"""The words of each colour; the first is the usual one.

:meta hide-value:
"""

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
"""The words of each shape; the first is the usual one.

:meta hide-value:
"""

SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}
NOUNS = ("one", "shape", "object", "thing")

# Side -> (axis, sign, phrases for an object on that side).
SIDES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "left": (0, -1, ("the left {noun}", "the {noun} on the left", "the leftmost {noun}")),
    "right": (0, 1, ("the right {noun}", "the {noun} on the right", "the rightmost {noun}")),
    "top": (1, -1, ("the top {noun}", "the {noun} at the top", "the upper {noun}")),
    "bottom": (1, 1, ("the bottom {noun}", "the {noun} at the bottom", "the lower {noun}")),
}
MARGIN = 0.12
"""How much farther out than its rivals an object must be to be named by its side, as a share of the image's side."""

# Relation -> (axis, sign, words between the object and the one that it is placed by).
RELATIONS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "left": (0, -1, ("left of", "to the left of")),
    "right": (0, 1, ("right of", "to the right of")),
    "above": (1, -1, ("above", "over")),
    "below": (1, 1, ("below", "under")),
    "near": (-1, 0, ("next to", "beside", "near")),
}
NEAR, NEARER = 0.36, 1.6
"""An object is next to another one within ``NEAR`` (a share of the image's side), if all others that fit the same words
are more than ``NEARER`` times as far away."""

# Place -> (phrases for adding there, phrases for moving there).
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
