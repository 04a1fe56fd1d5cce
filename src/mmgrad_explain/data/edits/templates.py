"""The words and sentence forms of :mod:`mmgrad_explain.data.edits.text`, and nothing else."""

from __future__ import annotations

from mmgrad_explain.data.edits.colours import COLOURS

# The first word is the usual one.
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    **{word: (word,) for word in COLOURS},
    "purple": ("purple", "violet"),
    "gray": ("gray", "grey"),
}
PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "stripes": ("stripes",),
    "polka dots": ("polka dots", "dots"),
    "checks": ("checks", "squares"),
}
PATTERN_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "stripes": ("striped",),
    "polka dots": ("dotted", "spotted"),
    "checks": ("checked", "checkered"),
}

# {subject}: the phrase. {detail}: colour, pattern, place or giver. {adjective}: of the pattern. {be}: is or are.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "recolour": (
        "make {subject} {detail}",
        "make {subject} {detail}",
        "make {subject} {detail}",
        "change {subject} to {detail}",
        "change {subject} to {detail}",
        "turn {subject} {detail}",
        "turn {subject} {detail}",
        "paint {subject} {detail}",
        "dye {subject} {detail}",
        "color {subject} {detail}",
        "recolor {subject} to {detail}",
        "{subject} should be {detail}",
        "{subject} {be} {detail}",
        "{subject} in {detail}",
        "change the color of {subject} to {detail}",
        "change the colour of {subject} to {detail}",
    ),
    "darken": (
        "darken {subject}",
        "darken {subject}",
        "make {subject} darker",
        "make {subject} darker",
        "make {subject} dark",
        "{subject} should be darker",
        "{subject} {be} darker",
        "{subject} in a darker shade",
    ),
    "brighten": (
        "brighten {subject}",
        "lighten {subject}",
        "make {subject} brighter",
        "make {subject} brighter",
        "make {subject} lighter",
        "{subject} should be brighter",
        "{subject} {be} lighter",
        "{subject} in a lighter shade",
    ),
    "gray": (
        "remove the colour from {subject}",
        "remove the color from {subject}",
        "take the color out of {subject}",
        "make {subject} gray",
        "make {subject} grey",
        "turn {subject} gray",
        "make {subject} colorless",
        "{subject} without color",
    ),
    "pattern": (
        "add {detail} to {subject}",
        "add {detail} to {subject}",
        "put {detail} on {subject}",
        "make {subject} {adjective}",
        "make {subject} {adjective}",
        "{subject} with {detail}",
        "{subject} should have {detail}",
        "{subject} should be {adjective}",
    ),
    "blur": (
        "blur {subject}",
        "make {subject} blurry",
        "make {subject} blurry",
        "make {subject} blurred",
        "{subject} should be blurry",
        "put {subject} out of focus",
        "{subject} {be} out of focus",
    ),
    "remove": (
        "remove {subject}",
        "remove {subject}",
        "delete {subject}",
        "erase {subject}",
        "take away {subject}",
        "take {subject} away",
        "get rid of {subject}",
        "without {subject}",
        "the same without {subject}",
    ),
    "add": (
        "add {thing}",
        "add {thing}",
        "there should be {thing}",
        "there should be {thing}",
        "there {be} {thing}",
        "put {thing} there",
        "with {thing}",
        "the same with {thing}",
    ),
    "swap": (
        "make {subject} look like {detail}",
        "make {subject} look like {detail}",
        "make {subject} match {detail}",
        "give {subject} the look of {detail}",
        "give {subject} the color of {detail}",
        "swap the look of {subject} for that of {detail}",
        "{subject} should match {detail}",
    ),
}
# These fit any object of the class, so they are used only where the phrase has no qualifier. {one}: an article or none.
SIMPLE: dict[str, tuple[str, ...]] = {
    "recolour": ("{one} {detail} {noun}", "{one} {detail} {noun}", "with {one} {detail} {noun}"),
    "darken": ("{one} darker {noun}",),
    "brighten": ("{one} lighter {noun}", "{one} brighter {noun}"),
    "gray": ("{one} colorless {noun}",),
    "pattern": ("{one} {adjective} {noun}", "{one} {adjective} {noun}", "{one} {noun} with {detail}"),
    "blur": ("{one} blurry {noun}",),
    "remove": ("no {noun}", "there should be no {noun}"),
}
ADD_PLACED = ("add {thing} {place}", "there should be {thing} {place}", "put {thing} {place}", "with {thing} {place}")

SIDES: dict[str, tuple[int, int, tuple[str, ...], str]] = {
    "left": (0, -1, ("the left {noun}", "the {noun} on the left", "the leftmost {noun}"), "on the left"),
    "right": (0, 1, ("the right {noun}", "the {noun} on the right", "the rightmost {noun}"), "on the right"),
    "top": (1, -1, ("the upper {noun}", "the {noun} at the top", "the top {noun}"), "at the top"),
    "bottom": (1, 1, ("the lower {noun}", "the {noun} at the bottom", "the bottom {noun}"), "at the bottom"),
}
"""By side: axis, sign, phrases for the one object on that side, and the place of an added object.

:meta hide-value:
"""

SIZES: dict[str, tuple[str, str]] = {
    "large": ("the larger {noun}", "the largest {noun}"),
    "small": ("the smaller {noun}", "the smallest {noun}"),
}
"""By size: the phrase for the one object of that size, among two objects and among more.

:meta hide-value:
"""

SIDE_MARGIN = 0.15
"""How much farther out than any other of its class an object's centre must be to be named by its side, 0 to 1."""
SIZE_RATIO = 2.0
"""An object is called larger if its area is more than this many times that of any other object of its class."""
