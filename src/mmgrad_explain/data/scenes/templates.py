"""Sentence templates of generated scenes: those of training, and others kept for evaluation.

``{subject}`` is one object, or two in "swap" and in the kinds of :data:`SENTENCES` that end in "two"; there ``{first}``
and ``{second}`` are the single objects.
"""

from __future__ import annotations

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
    "swap": (
        "swap {subject}",
        "swap {first} with {second}",
        "exchange {subject}",
        "exchange {first} with {second}",
        "switch {subject}",
        "swap the places of {subject}",
        "switch the places of {subject}",
        "{subject} swap places",
        "{subject} should swap places",
    ),
}

HELD_OUT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "recolour": (
        "the color of {subject} should be {color}",
        "{color} should be the color of {subject}",
        "transform the colour of {subject} to {color}",
        "recolor {subject} into {color}",
    ),
    "reshape": (
        "insert {shape} instead of {subject}",
        "there should be {shape} instead of {subject}",
        "draw {shape} instead of {subject}",
        "the shape of {subject} should be {shape}",
    ),
    "larger": (
        "grow the size of {subject}",
        "the size of {subject} should be larger",
        "change {subject} to be bigger",
    ),
    "smaller": (
        "shrink the size of {subject}",
        "the size of {subject} should be smaller",
        "change {subject} to be smaller",
    ),
    "remove": (
        "draw the same without {subject}",
        "make the same without {subject}",
        "{subject} should be away",
        "put {subject} away",
    ),
    "move to": (
        "push {subject} {place}",
        "slide {subject} {place}",
        "{subject} is now {where}",
        "draw {subject} {where}",
    ),
    "move along": ("{subject} should move {direction}", "{subject} should slide {direction}"),
    "add": (
        "{thing} should be {where}",
        "make {thing} {where}",
        "{where} there should be {thing}",
        "{thing} is now {where}",
    ),
    "swap": ("exchange the places of {subject}", "change the places of {subject}", "{subject} should switch places"),
}
"""Templates that training never uses; their words occur in training."""


def _for_two(templates: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Add templates for two objects: in the plural, and without the old colour, which only one of them has."""
    more = {
        f"{kind} two": tuple(text.replace(" is now ", " are now ") for text in templates[kind] if "{old}" not in text)
        for kind in ("recolour", "larger", "smaller", "remove")
    }
    return {**templates, **more}


SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "training": _for_two(TEMPLATES),
    "held-out": _for_two(HELD_OUT_TEMPLATES),
}
"""The templates of every kind of sentence, in training and held out.

:meta hide-value:
"""
