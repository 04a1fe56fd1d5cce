"""Sentences that ask for an edit of a photograph, and phrases for one of its objects.

Everything is lower-case with single spaces. :func:`edit_vocabulary` is computed from the tables that the sentences are
made of, so it contains every word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain.data.edits.nouns import is_plural, is_uncounted, make_noun, make_plural, split_words
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.data.edits.templates import (
    ADD_PLACED,
    COLOUR_WORDS,
    PATTERN_ADJECTIVES,
    PATTERN_NOUNS,
    SIDE_MARGIN,
    SIDES,
    SIMPLE,
    SIZE_RATIO,
    SIZES,
    TEMPLATES,
)
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np


class Spot(NamedTuple):
    """What a phrase can say about one of several objects of a class.

    Attributes:
        u: Horizontal centre, 0 at the image's left edge and 1 at its right edge.
        v: Vertical centre, 0 at the top and 1 at the bottom.
        area: In any unit.
    """

    u: float
    v: float
    area: float


def find_phrase(rng: np.random.Generator, noun: str, spots: Sequence[Spot], index: int) -> tuple[str, str] | None:
    """Find a phrase for one object that fits no other object of its class in the image.

    Args:
        rng: The source of variety.
        noun: The noun for the class.
        spots: All objects of the class.
        index: Of the object.

    Returns:
        The phrase, for example ``"the dog on the left"``, and its qualifier: ``"only"``, a key of
        :data:`~mmgrad_explain.data.edits.templates.SIDES` or of :data:`~mmgrad_explain.data.edits.templates.SIZES`.
        None if every phrase is ambiguous.
    """
    if len(spots) == 1:
        return f"the {noun}", "only"
    own, others = spots[index], [spot for i, spot in enumerate(spots) if i != index]
    found: list[tuple[str, str]] = []
    for side, (axis, sign, forms, _) in SIDES.items():
        here = sign * (own[axis] - 0.5)
        if here > 0 and all(here > sign * (other[axis] - 0.5) + SIDE_MARGIN for other in others):
            form = forms[int(rng.random() * (2 if len(spots) == 2 else 3))]
            found.append((form, side))
    among = 0 if len(spots) == 2 else 1
    if all(own.area > SIZE_RATIO * other.area for other in others):
        found.append((SIZES["large"][among], "large"))
    if all(own.area * SIZE_RATIO < other.area for other in others):
        found.append((SIZES["small"][among], "small"))
    if not found:
        return None
    phrase, qualifier = found[int(rng.random() * len(found))]
    return phrase.format(noun=noun), qualifier


def find_phrase_for_all(rng: np.random.Generator, noun: str, count: int) -> str:
    """Find a phrase for all objects of a class: ``"all the dogs"``, ``"both dogs"`` where there are two."""
    nouns = make_plural(noun)
    return f"both {nouns}" if count == 2 and rng.random() < 0.5 else f"all the {nouns}"


def edit_sentence(
    rng: np.random.Generator, kind: str, phrase: str, detail: str | None = None, *, plural: bool | None = None
) -> str:
    """Make a sentence that asks for an edit.

    Args:
        rng: The source of variety.
        kind: One of :data:`~mmgrad_explain.data.edits.options.EDIT_KINDS`.
        phrase: The object, with its article: ``"the dress"``, ``"the dog on the left"``, ``"all the dogs"``.
        detail: The colour word of ``recolour``, the pattern of ``pattern``, the phrase of the object whose look is
            taken of ``swap``; for ``add`` a place such as ``"on the left"`` or None. Otherwise not used.
        plural: Whether the phrase is a plural; guessed from its form when None.

    Returns:
        A sentence, lower-case.

    Raises:
        InputError: The kind or the detail is unknown, or the phrase is empty.
    """
    if kind not in TEMPLATES:
        raise InputError(f"unknown kind of edit {kind!r}: {did_you_mean(kind, EDIT_KINDS)}use {', '.join(EDIT_KINDS)}")
    phrase = " ".join(phrase.lower().split())
    if not phrase:
        raise InputError('phrase is empty: say what the edit is of, for example "the dress"')
    known = {"recolour": COLOUR_WORDS, "pattern": PATTERN_NOUNS}.get(kind)
    if known is not None and detail not in known:
        raise InputError(f"detail of {kind} must be one of {', '.join(known)}, not {detail!r}")
    if kind == "swap" and not detail:
        raise InputError('detail of swap is the phrase of the object whose look is taken, for example "the coat"')
    noun = _bare(phrase)
    plural = is_plural(noun or phrase.split(" on the ")[0].split(" at the ")[0]) if plural is None else plural
    options = TEMPLATES[kind] + (SIMPLE.get(kind, ()) if noun else ())
    place = detail if kind == "add" else None
    template = _pick(rng, ADD_PLACED if place else options)
    said = detail or ""
    if kind in ("recolour", "pattern"):
        said = _word(rng, (COLOUR_WORDS if kind == "recolour" else PATTERN_NOUNS)[said])
    text = template.format(
        subject=phrase,
        noun=noun,
        one="" if plural or is_uncounted(noun) else "a",
        thing=_thing(phrase, noun, plural=plural),
        be="are" if plural else "is",
        place=place,
        detail=said,
        adjective=_word(rng, PATTERN_ADJECTIVES[detail]) if kind == "pattern" and detail else "",
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))


def edit_vocabulary(class_names: Iterable[str] = (), kinds: Iterable[str] | None = None) -> tuple[str, ...]:
    """List every word that the sentences about these classes can contain, for a word-level tokenizer.

    Args:
        class_names: As the data set writes them; their plurals are included.
        kinds: Only the words of sentences for these kinds of edits, about one object of its class; all words if None.

    Returns:
        The words, sorted, without punctuation: ``t-shirt`` gives ``t`` and ``shirt``.
    """
    if kinds is not None:
        return _words_of(kinds, class_names)
    texts = ["the a an all both another more is are"]
    for table in (TEMPLATES, SIMPLE, COLOUR_WORDS, PATTERN_NOUNS, PATTERN_ADJECTIVES, SIZES):
        for entry in table.values():
            texts.extend(entry)
    texts.extend(ADD_PLACED)
    for _, _, forms, place in SIDES.values():
        texts.extend((*forms, place))
    for name in class_names:
        texts.extend((make_noun(name), make_plural(make_noun(name))))
    return _split(texts)


def _words_of(kinds: Iterable[str], class_names: Iterable[str]) -> tuple[str, ...]:
    texts = ["the a an is are", *map(make_noun, class_names)]
    for kind in kinds:
        texts.extend((*TEMPLATES.get(kind, ()), *SIMPLE.get(kind, ())))
        tables = {"recolour": (COLOUR_WORDS,), "pattern": (PATTERN_NOUNS, PATTERN_ADJECTIVES)}.get(kind, ())
        texts.extend(word for table in tables for words in table.values() for word in words)
    return _split(texts)


def _split(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for text in texts for word in split_words(re.sub(r"\{\w+\}", " ", text))}))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]


def _word(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 or rng.random() < 0.7 else _pick(rng, options)


_QUALIFIED = re.compile(
    r"^the (left|right|leftmost|rightmost|upper|lower|top|bottom|larger|largest|smaller|smallest) | (on|at) the "
)


def _bare(phrase: str) -> str:
    """Return the noun of an unqualified phrase, else an empty string."""
    if not phrase.startswith("the ") or _QUALIFIED.search(phrase):
        return ""
    return phrase.removeprefix("the ")


def _thing(phrase: str, noun: str, *, plural: bool) -> str:
    """Name what is added: ``a dog``, ``shoes``; ``another dog`` if the phrase is qualified."""
    if noun:
        return noun if plural or is_uncounted(noun) else f"a {noun}"
    words = re.sub(r" (on|at) the \w+$", "", phrase)
    words = re.sub(_QUALIFIED, "", words).removeprefix("the ").removeprefix("all ").removeprefix("both ")
    words = words.removeprefix("the ")
    return f"more {words}" if plural else f"another {words}"
