"""Sentences about objects on photographs, told apart by side, size and colour.

The plain ones are those of :mod:`mmgrad_explain.data.edits.text`; the freer ones are as people type them. Replacing and
resizing have sentences of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmgrad_explain.data.edits.nouns import is_plural, is_uncounted, make_noun, make_plural, split_words
from mmgrad_explain.data.edits.templates import (
    ADD_PLACED,
    COLOUR_WORDS,
    SIDES,
    SIZES,
    TEMPLATES,
)
from mmgrad_explain.data.edits.text import Spot, edit_sentence, edit_vocabulary, find_phrase, find_phrase_for_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

# {subject}: "the dog on the left". {be}: is or are. {look}: "red". {new}: "a cat".
SUBJECT: dict[str, tuple[str, ...]] = {
    "recolour": (
        "i want {subject} to be {look}", "can you make {subject} {look}", "make the color of {subject} {look}",
        "{subject} {look}", "{subject} {look} please", "{subject} in {look} instead",
        "the same but {subject} {be} {look}", "could {subject} be {look}", "please make {subject} {look}",
    ),
    "darken": (
        "make {subject} a bit darker", "make {subject} slightly darker", "make {subject} much darker",
        "{subject} a bit darker", "i want {subject} to be darker", "{subject} darker", "can you darken {subject}",
    ),
    "brighten": (
        "make {subject} a bit brighter", "make {subject} slightly lighter", "make {subject} much brighter",
        "{subject} a bit lighter", "i want {subject} to be brighter", "{subject} brighter",
        "can you brighten {subject}",
    ),
    "blur": ("blur out {subject}", "{subject} blurred", "{subject} a bit blurry", "can you blur {subject}"),
    "remove": (
        "i do not want {subject}", "lose {subject}", "leave out {subject}", "drop {subject}", "cut out {subject}",
        "the same but without {subject}", "remove {subject} please", "hide {subject}", "can you remove {subject}",
        "please remove {subject}",
    ),
    "replace": (
        "replace {subject} with {new}", "replace {subject} with {new}", "replace {subject} by {new}",
        "change {subject} to {new}", "change {subject} into {new}", "turn {subject} into {new}",
        "swap {subject} for {new}", "{new} instead of {subject}", "{new} in place of {subject}",
        "put {new} where {subject} {be}", "make {subject} {new}",
    ),
    "enlarge": (
        "make {subject} bigger", "make {subject} bigger", "make {subject} larger", "enlarge {subject}",
        "{subject} should be bigger", "{subject} {be} bigger", "make {subject} big", "{subject} bigger",
        "make {subject} a bit larger", "i want {subject} to be bigger",
    ),
    "shrink": (
        "make {subject} smaller", "make {subject} smaller", "shrink {subject}", "{subject} should be smaller",
        "{subject} {be} smaller", "make {subject} small", "{subject} smaller", "make {subject} a bit smaller",
        "i want {subject} to be smaller",
    ),
}  # fmt: skip
"""They fit every phrase; a kind that ``TEMPLATES`` (``data/edits/templates.py``) lacks has these alone."""

# {thing}: "a red dog". {noun}: "dog".
ALONE: dict[str, tuple[str, ...]] = {
    "recolour": (
        "{thing} instead", "{bare}", "{bare} please", "i want {thing}", "the same with {thing}", "give me {thing}",
        "make it {thing}", "the same but with {thing}", "show me {thing}",
    ),
    "remove": ("no {noun} please", "with no {noun}", "has no {noun}", "without {one}"),
    "enlarge": ("{thing}", "{thing} please", "i want {thing}", "give me {thing}"),
    "shrink": ("{thing}", "{thing} please", "i want {thing}", "give me {thing}"),
}  # fmt: skip
"""They fit any object of a class, so they are used only where a phrase has no qualifier."""

_ADJECTIVES = {"enlarge": ("bigger", "larger", "big"), "shrink": ("smaller", "small")}
_OWN_COLOUR = 0.2
_SIDE_ALONE = 0.12
_CLEARLY = 0.14  # how far from the middle an object is on a side, as a share of the image


class ObjectTexts:
    """Makes sentences about labelled objects.

    Args:
        names: Names of the labels, the background first.
        synonyms: Other words for a name.
        free: How often a sentence is one of the freer ones.
    """

    def __init__(self, names: Sequence[str], synonyms: Mapping[str, Sequence[str]], free: float) -> None:
        self._words = [tuple(make_noun(word) for word in (name, *synonyms.get(name, ()))) for name in names]
        self._free = free

    def noun(self, rng: np.random.Generator, label: int) -> str:
        """Draw a word for a label: its name, or as often one of its synonyms."""
        words = self._words[label]
        return words[0] if rng.random() < 0.5 else _pick(rng, words)

    def phrase(
        self, rng: np.random.Generator, label: int, spots: Sequence[Spot], index: int,
        colours: Sequence[str | None] = (),
    ) -> tuple[str, bool] | None:  # fmt: skip
        """Make a phrase for one object that fits no other one of its label.

        Args:
            rng: The source of variety.
            label: Number of the label.
            spots: Places of all objects of that label.
            index: Of the object.
            colours: Their colours, where these are known.

        Returns:
            The phrase, and whether it has no qualifier; None if every phrase is ambiguous.
        """
        noun = self.noun(rng, label)
        own = colours[index] if colours else None
        if own is not None and list(colours).count(own) == 1 and rng.random() < _OWN_COLOUR:
            return f"the {_pick(rng, COLOUR_WORDS[own])} {noun}", False
        if len(spots) == 1 and rng.random() < _SIDE_ALONE:
            for axis, sign, forms, _ in SIDES.values():
                if sign * (spots[0][axis] - 0.5) > _CLEARLY:
                    return forms[int(rng.random() * 2)].format(noun=noun), False
        found = find_phrase(rng, noun, spots, index)
        return None if found is None else (found[0], found[1] == "only")

    def phrase_for_all(self, rng: np.random.Generator, label: int, count: int) -> str:
        """Make a phrase for all objects of a label."""
        noun = self.noun(rng, label)
        return f"the {make_plural(noun)}" if rng.random() < 0.4 else find_phrase_for_all(rng, noun, count)

    def say(
        self, rng: np.random.Generator, kind: str, phrase: str, detail: str | None = None, *, bare: bool = False,
        new: int | None = None,
    ) -> str:  # fmt: skip
        """Make a sentence that asks for an edit.

        Args:
            rng: The source of variety.
            kind: The kind of edit.
            phrase: The object, with its article.
            detail: The colour, pattern, or place of what is added.
            bare: Whether the phrase has no qualifier.
            new: The label of what replaces it.
        """
        noun = phrase.removeprefix("the ")
        plural = is_plural(noun.split(" on the ")[0].split(" at the ")[0])
        own = kind not in TEMPLATES
        if not own and rng.random() >= self._free:
            return edit_sentence(rng, kind, phrase, detail, plural=plural)
        if bare and kind in ALONE and rng.random() < (0.3 if own else 0.5):
            look = _pick(rng, COLOUR_WORDS[detail]) if detail else _pick(rng, _ADJECTIVES.get(kind, ("",)))
            full = f"{look} {noun}".strip()
            text = _pick(rng, ALONE[kind])
            return _tidy(text.format(thing=_with_article(full), bare=full, noun=noun, one=_with_article(noun)))
        if kind not in SUBJECT:
            return edit_sentence(rng, kind, phrase, detail, plural=plural)
        look = _pick(rng, COLOUR_WORDS[detail]) if kind == "recolour" and detail else ""
        come = "" if new is None else _with_article(self.noun(rng, new))
        text = _pick(rng, SUBJECT[kind])
        return _tidy(text.format(subject=phrase, be="are" if plural else "is", look=look, new=come))

    def vocabulary(self, labels: Sequence[int], kinds: Sequence[str]) -> tuple[str, ...]:
        """List every word that the sentences about some labels can hold."""
        nouns = [noun for label in labels for noun in self._words[label]]
        texts = [*nouns, *map(make_plural, nouns), *edit_vocabulary(nouns, kinds), "both all another more"]
        for table in (SUBJECT, ALONE, _ADJECTIVES):
            texts += [text for kind in kinds for text in table.get(kind, ())]
        texts += [form for _, _, forms, place in SIDES.values() for form in (*forms, place)]
        texts += [form for forms in SIZES.values() for form in forms]
        texts += [word for words in COLOUR_WORDS.values() for word in words]
        if "add" in kinds:
            texts += ADD_PLACED
        return tuple(sorted({word for text in texts for word in split_words(re.sub(r"\{\w+\}", " ", text))}))


def _with_article(noun: str) -> str:
    return noun if is_plural(noun) or is_uncounted(noun) else f"a {noun}"


def _tidy(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]
