"""Sentences that ask for an edit of a photograph, and phrases that mean one object of it.

Everything is lower-case with single spaces. :func:`edit_vocabulary` is computed from the tables that the sentences are
made of, so it cannot miss a word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain.data.edit_ops import COLOURS, EDIT_KINDS
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

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
_TEMPLATES: dict[str, tuple[str, ...]] = {
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
# These speak of any object of the kind: they stand only where the phrase has no qualifier. {one}: an article or none.
_SIMPLE: dict[str, tuple[str, ...]] = {
    "recolour": ("{one} {detail} {noun}", "{one} {detail} {noun}", "with {one} {detail} {noun}"),
    "darken": ("{one} darker {noun}",),
    "brighten": ("{one} lighter {noun}", "{one} brighter {noun}"),
    "gray": ("{one} colorless {noun}",),
    "pattern": ("{one} {adjective} {noun}", "{one} {adjective} {noun}", "{one} {noun} with {detail}"),
    "blur": ("{one} blurry {noun}",),
    "remove": ("no {noun}", "there should be no {noun}"),
}
_ADD_PLACED = ("add {thing} {place}", "there should be {thing} {place}", "put {thing} {place}", "with {thing} {place}")

# Side -> (axis, sign, how one object on that side is told from its like, where something is added).
SIDES: dict[str, tuple[int, int, tuple[str, ...], str]] = {
    "left": (0, -1, ("the left {noun}", "the {noun} on the left", "the leftmost {noun}"), "on the left"),
    "right": (0, 1, ("the right {noun}", "the {noun} on the right", "the rightmost {noun}"), "on the right"),
    "top": (1, -1, ("the upper {noun}", "the {noun} at the top", "the top {noun}"), "at the top"),
    "bottom": (1, 1, ("the lower {noun}", "the {noun} at the bottom", "the bottom {noun}"), "at the bottom"),
}
SIZES: dict[str, tuple[str, str]] = {  # -> (among two, among more)
    "large": ("the larger {noun}", "the largest {noun}"),
    "small": ("the smaller {noun}", "the smallest {noun}"),
}
SIDE_MARGIN = 0.15
"""How much farther out than its like an object's centre must be, as a share of the picture, to be called by it."""
SIZE_RATIO = 2.0
"""How many times an object's area must exceed its like's to be called the larger."""

_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "goose": "geese", "knife": "knives", "leaf": "leaves", "shelf": "shelves", "scarf": "scarves",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "skis": "skis", "aircraft": "aircraft",
}  # fmt: skip


class Spot(NamedTuple):
    """What a phrase can say of an object among its like.

    Attributes:
        u: Horizontal centre, 0 at the picture's left edge and 1 at its right edge.
        v: Vertical centre, 0 at the top and 1 at the bottom.
        area: In any unit.
    """

    u: float
    v: float
    area: float


_PLURALS = {*_IRREGULAR.values(), "police", "cattle"}
_SINGULAR_ENDINGS = ("ss", "us", "is", "gas", "lens", "canvas", "atlas")
_TURNED = re.compile(r"^(floor|wall)-(\w+)$")  # "wall-brick" is a brick wall


def is_plural(noun: str) -> bool:
    """Tell whether a noun stands in the plural by its form: shoes, pants, glasses; not dress, bus or grass."""
    last = _words(noun)[-1:]
    return bool(last) and (last[0] in _PLURALS or (last[0].endswith("s") and not last[0].endswith(_SINGULAR_ENDINGS)))


def plural_of(noun: str) -> str:
    """Give a noun's plural: dog to dogs, bus to buses, person to people; a plural stays as it is."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif is_plural(last):
        pass
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def spoken(class_name: str) -> str:
    """Give a class name as it is said: ``sky-other-merged`` is sky, ``wall-brick`` brick wall, ``Hot_dog`` hot dog."""
    name = _TURNED.sub(r"\2 \1", re.sub(r"-(other|merged|stuff)\b", "", class_name.strip().lower()))
    return " ".join(re.sub(r"[_\s]+", " ", name).split())


def describe(rng: np.random.Generator, noun: str, spots: Sequence[Spot], index: int) -> tuple[str, str] | None:
    """Find words for one object that fit no other of its kind in the picture.

    Args:
        rng: The source of variety.
        noun: What all of them are called.
        spots: All objects of the kind.
        index: The one that is meant.

    Returns:
        The phrase, for example ``"the dog on the left"``, and its qualifier: ``"only"``, a key of :data:`SIDES` or of
        :data:`SIZES`. None where no phrase is safe.
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


def describe_all(rng: np.random.Generator, noun: str, count: int) -> str:
    """Give a phrase for all objects of a kind: ``"all the dogs"``, ``"both dogs"`` where there are two."""
    nouns = plural_of(noun)
    return f"both {nouns}" if count == 2 and rng.random() < 0.5 else f"all the {nouns}"


def edit_sentence(
    rng: np.random.Generator, kind: str, phrase: str, detail: str | None = None, *, plural: bool | None = None
) -> str:
    """Ask for an edit in words.

    Args:
        rng: The source of variety.
        kind: One of :data:`~mmgrad_explain.data.edit_ops.EDIT_KINDS`.
        phrase: What is meant, with its article: ``"the dress"``, ``"the dog on the left"``, ``"all the dogs"``.
        detail: The colour word of ``recolour``, the pattern of ``pattern``, the phrase of the object whose look is
            taken of ``swap``; for ``add`` a place such as ``"on the left"`` or None. Otherwise not used.
        plural: Whether the phrase is a plural; None judges by its form.

    Returns:
        A sentence, lower-case.

    Raises:
        InputError: The kind or the detail is unknown, or the phrase is empty.
    """
    if kind not in _TEMPLATES:
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
    options = _TEMPLATES[kind] + (_SIMPLE.get(kind, ()) if noun else ())
    place = detail if kind == "add" else None
    template = _pick(rng, _ADD_PLACED if place else options)
    said = detail or ""
    if kind in ("recolour", "pattern"):
        said = _word(rng, (COLOUR_WORDS if kind == "recolour" else PATTERN_NOUNS)[said])
    text = template.format(
        subject=phrase,
        noun=noun,
        one="" if plural else "a",
        thing=_thing(phrase, noun, plural=plural),
        be="are" if plural else "is",
        place=place,
        detail=said,
        adjective=_word(rng, PATTERN_ADJECTIVES[detail]) if kind == "pattern" and detail else "",
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))


def edit_vocabulary(class_names: Iterable[str] = ()) -> tuple[str, ...]:
    """List every word that the sentences about these classes can hold, for a word-level tokenizer.

    Args:
        class_names: As the data set has them; their plurals count too.

    Returns:
        The words, sorted, without punctuation: ``t-shirt`` gives ``t`` and ``shirt``.
    """
    texts = ["the a an all both another more is are"]
    for table in (_TEMPLATES, _SIMPLE, COLOUR_WORDS, PATTERN_NOUNS, PATTERN_ADJECTIVES, SIZES):
        for entry in table.values():
            texts.extend(entry)
    texts.extend(_ADD_PLACED)
    for _, _, forms, place in SIDES.values():
        texts.extend((*forms, place))
    for name in class_names:
        texts.extend((spoken(name), plural_of(spoken(name))))
    return tuple(sorted({word for text in texts for word in _words(re.sub(r"\{\w+\}", " ", text))}))


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]+", " ", text.lower()).split()


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]


def _word(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 or rng.random() < 0.7 else _pick(rng, options)


_QUALIFIED = re.compile(
    r"^the (left|right|leftmost|rightmost|upper|lower|top|bottom|larger|largest|smaller|smallest) | (on|at) the "
)


def _bare(phrase: str) -> str:
    """The noun of an unqualified phrase, else an empty string."""
    if not phrase.startswith("the ") or _QUALIFIED.search(phrase):
        return ""
    return phrase.removeprefix("the ")


def _thing(phrase: str, noun: str, *, plural: bool) -> str:
    """What is added: ``a dog``, ``shoes``; ``another dog`` where the phrase tells it from others."""
    if noun:
        return noun if plural else f"a {noun}"
    words = re.sub(r" (on|at) the \w+$", "", phrase)
    words = re.sub(_QUALIFIED, "", words).removeprefix("the ").removeprefix("all ").removeprefix("both ")
    words = words.removeprefix("the ")
    return f"more {words}" if plural else f"another {words}"
