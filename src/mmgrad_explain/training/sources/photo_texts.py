"""Sentences that ask for a change of a photograph: those of :mod:`mmgrad_explain.data.edits.text`, and freer ones.

The freer ones are as people type them ("a red dress instead", "no hat", "the same but with a black bag"): they may name
the present colour ("make the blue dress red"), a singular for a plural, or a person by the side of the image.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmgrad_explain.data.edits.nouns import is_plural, is_uncounted, make_noun, make_plural, make_singular, split_words
from mmgrad_explain.data.edits.templates import COLOUR_WORDS, PATTERN_ADJECTIVES, PATTERN_NOUNS, TEMPLATES
from mmgrad_explain.data.edits.text import edit_sentence, edit_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

# {subject}: "the dress". {thing}: "a red dress". {noun}: "red dress". {gone}: "the coat".
_WORN = (
    "{thing} instead", "with {thing} instead", "{noun}", "{noun} instead", "has {thing}", "is wearing {thing}",
    "wears {thing}", "wear {thing}", "i want {thing}", "the same with {thing}", "the same but with {thing}",
    "give me {thing}", "show me {thing}", "{thing} please",
)  # fmt: skip
_BY_A_BIT = (
    "make {subject} a bit {look}", "make {subject} slightly {look}", "make {subject} much {look}",
    "{subject} a bit {look}", "{subject} {be} {look} in color", "i want {subject} to be {look}", "{look} {bare}",
    "{subject} {be} a little {look}", "the same but {subject} {look}", "{subject} {be} {look}",
)  # fmt: skip
FREE: dict[str, tuple[str, ...]] = {
    "recolour": (
        *_WORN, "i want {subject} to be {look}", "{subject} {be} {look}", "{subject} in {look} instead",
        "make it {thing}", "replace {subject} with {thing}", "the same but {subject} {be} {look}",
        "make the color of {subject} {look}", "{subject} {be} {look} in color", "can you make {subject} {look}",
        "{subject} {look}", "{look} colored {bare}", "{subject} {be} {look} colored",
    ),
    "darken": (*_BY_A_BIT, "{subject} in a dark color", "make {subject} dark", "dark {bare}"),
    "brighten": (
        *_BY_A_BIT, "{subject} in a light color", "make {subject} light", "light {bare}", "make {subject} bright",
        "bright {bare}", "{subject} in a bright color",
    ),
    "pattern": (
        *_WORN, "{subject} has {detail}", "i want {detail} on {subject}", "the same but {subject} has {detail}",
        "{subject} with a pattern", "patterned {bare}", "add a pattern to {subject}", "make {subject} patterned",
    ),
    "remove": (
        "no {bare}", "no {bare} please", "without {subject}", "without {one}", "take off {subject}", "lose {subject}",
        "the same but without {subject}", "has no {bare}", "is not wearing {one}", "leave out {subject}",
        "drop {subject}", "with no {bare}", "remove {subject}", "remove {subject}", "i do not want {subject}",
        "get rid of {subject}",
    ),
    "add": (
        *_WORN, "add {thing}", "add {thing}", "with {thing}", "with {thing}", "and {thing}", "put on {thing}",
        "put {thing} on", "also {thing}", "there should be {thing}",
    ),
    "replace": (
        "{thing} instead of {gone}", "{thing} instead of {gone}", "replace {gone} with {thing}",
        "replace {gone} by {thing}", "swap {gone} for {thing}", "change {gone} to {thing}",
        "change {gone} into {thing}", "turn {gone} into {thing}", "make {gone} {thing}",
        "not {gone} but {thing}", "instead of {gone} {thing}",
        "no {old} but {thing}", "{thing} in place of {gone}", "wears {thing} instead of {gone}",
    ),
}  # fmt: skip
_LOOKS = {"darken": ("darker",), "brighten": ("lighter", "brighter")}
_SIDE_PHRASES = (
    "the {noun} on the {side}", "the {side} {noun}", "the {noun} of the person on the {side}",
    "the {side} person's {noun}", "the {noun} of the {side} person",
)  # fmt: skip
_OWN_COLOUR = 0.2  # how often a garment is named with the colour that it has
_OTHER_NUMBER = 0.08  # how often a plural stands for a singular, or the other way
_JOINTS = ("and", "and", "and also", "but also", "with")


class PhotoTexts:
    """Makes sentences about the labels of photographs.

    Args:
        names: Names of the labels.
        synonyms: Other words for a name.
        free: How often a sentence is one of the freer ones.
    """

    def __init__(self, names: Sequence[str], synonyms: Mapping[str, Sequence[str]], free: float) -> None:
        self.names = names
        self._words = [tuple(make_noun(word) for word in (name, *synonyms.get(name, ()))) for name in names]
        self._free = free

    def plain(self, rng: np.random.Generator, kind: str, label: int, detail: str | None) -> str:
        """Make one of the plain sentences; every word for a label is drawn as often as the others."""
        words = self._words[label]
        return edit_sentence(rng, kind, f"the {words[int(rng.random() * len(words))]}", detail)

    def edit(
        self, rng: np.random.Generator, kind: str, label: int, detail: str | None, present: Sequence[int] = (), *,
        own: str | None = None, side: str | None = None,
    ) -> str:  # fmt: skip
        """Make a sentence that asks for an edit.

        Args:
            rng: The source of variety.
            kind: The kind of edit.
            label: Number of the label.
            detail: The colour or pattern.
            present: Labels in the image, whose names must not be used for this one.
            own: The colour that it has, if that is known.
            side: ``left`` or ``right``, where two people are shown.
        """
        noun = self._noun(rng, label, present)
        free = rng.random() < self._free
        if side is not None:
            phrase = _pick(rng, _SIDE_PHRASES).format(noun=noun, side=side)
            return edit_sentence(rng, kind, phrase, detail, plural=is_plural(noun))
        subject = self._subject(rng, noun, own)
        if not free or kind not in FREE:
            return edit_sentence(rng, kind, subject, detail, plural=is_plural(noun))
        look = adjective = detail_words = ""
        if kind == "pattern" and detail is not None:
            adjective, detail_words = _pick(rng, PATTERN_ADJECTIVES[detail]), _pick(rng, PATTERN_NOUNS[detail])
        elif kind == "recolour" and detail is not None:
            look = adjective = _pick(rng, COLOUR_WORDS[detail])
        else:
            look = _pick(rng, _LOOKS.get(kind, ("",)))
        return _fill(_pick(rng, FREE[kind]), subject, noun, adjective, look=look, detail=detail_words)

    def pair(
        self, rng: np.random.Generator, kind: str, gone: int | None, come: int | None, colour: str | None,
        present: Sequence[int] = (), own: str | None = None,
    ) -> str:  # fmt: skip
        """Make a sentence for a difference between two photographs (:mod:`~.photo_pairs`)."""
        if kind == "recolour" and gone is not None:
            return self.edit(rng, kind, gone, colour, present, own=own)
        old = None if gone is None else self._noun(rng, gone, present)
        word = "" if colour is None else _pick(rng, COLOUR_WORDS[colour])
        new = self._noun(rng, come, present) if come is not None else old or ""
        subject = self._subject(rng, old or new, own if gone is not None else None)
        if kind in TEMPLATES and rng.random() >= self._free:
            added = f"the {word} {new}".replace("  ", " ")
            return edit_sentence(rng, kind, added if kind == "add" else subject, plural=is_plural(new))
        return _fill(_pick(rng, FREE[kind]), subject, new, word, gone=old or "", look=word)

    @staticmethod
    def join(rng: np.random.Generator, first: str, second: str) -> str:
        """Join two sentences: ``make the skirt red and darken the coat``."""
        return f"{first} {_pick(rng, _JOINTS)} {second}"

    def vocabulary(self, labels: Sequence[int], kinds: Sequence[str], *, sides: bool) -> tuple[str, ...]:
        """List every word that the sentences about some labels can hold.

        Args:
            labels: Numbers of the labels.
            kinds: The kinds of edits and of differences.
            sides: Whether people are named by the side of the image.
        """
        nouns = [noun for label in labels for noun in self._words[label]]
        texts = [*nouns, *edit_vocabulary(nouns, kinds)]
        if self._free:
            counted = [noun for noun in nouns if not is_uncounted(noun)]
            texts += [*map(make_plural, counted), *map(make_singular, counted), *_JOINTS]
            texts += [word for kind in kinds for word in _LOOKS.get(kind, ())]
        texts += [text for kind in kinds if self._free or kind not in TEMPLATES for text in FREE.get(kind, ())]
        if {"recolour", "add", "replace"} & set(kinds):
            texts += [word for words in COLOUR_WORDS.values() for word in words]
        texts += (*_SIDE_PHRASES, "left", "right") if sides else ()
        return tuple(sorted({word for text in texts for word in split_words(re.sub(r"\{\w+\}", " ", text))}))

    def _noun(self, rng: np.random.Generator, label: int, present: Sequence[int]) -> str:
        """Draw a word for a label that is not the name of another one that is there."""
        others = {make_noun(self.names[other]) for other in present if other != label}
        words = [word for word in self._words[label] if word not in others] or [self._words[label][0]]
        noun = _pick(rng, words)
        if self._free and not is_uncounted(noun) and rng.random() < _OTHER_NUMBER:
            return make_singular(noun) if is_plural(noun) else make_plural(noun)
        return noun

    def _subject(self, rng: np.random.Generator, noun: str, own: str | None) -> str:
        if own is not None and rng.random() < _OWN_COLOUR * self._free:
            return f"the {_pick(rng, COLOUR_WORDS[own])} {noun}"
        return f"the {noun}"


def _fill(
    template: str, subject: str, noun: str, adjective: str, *, look: str = "", detail: str = "", gone: str = ""
) -> str:
    full = f"{adjective} {noun}".strip()
    text = template.format(
        subject=subject, be="are" if is_plural(noun) else "is", thing=_with_article(full), noun=full, bare=noun,
        one=_with_article(noun), look=look, detail=detail, gone=subject, old=gone,
    )  # fmt: skip
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))


def _with_article(noun: str) -> str:
    return noun if is_plural(noun) or is_uncounted(noun) else f"a {noun}"


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]
