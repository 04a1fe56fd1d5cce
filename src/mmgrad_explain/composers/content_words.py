"""Which words of a sentence carry its meaning, and whether a model knows any of them.

Words fall into four classes. Things ("dress", "star", and every word that is in no list here) count most, then looks
and places ("red", "large", "left"), then actions ("remove"). Fillers ("make", "the", "instead") carry no meaning of
their own. The lists are English.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.composers.base import Composer


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


FILLERS = _listed("""
    a an the this that these those it its they them their he him his she her i me my we us our you your one ones thing
    things object objects and or but if then than as at by for from in into of off on onto out to with without within so
    such very too more less most least much some any all both each every no not none just only also again still now
    please instead rather quite bit kind sort same other another different is are was were be been being am do does did
    done doing have has had having will would shall should can could may might must there here when where which who what
    how why want like need let get got give rid make makes made making turn turns turned change changes changed put take
    takes set show use keep look looks become becomes go pair picture image photo photograph version t s everything
    something anything nothing
""")
NEUTRAL = _listed("""
    a an the this that these those it its they them their he him his she her i me my we us our you your one ones thing
    things object objects item items product and but so very quite bit slightly much more also again still now
    please just simply really maybe perhaps is are was were be been being am do does did have has had will would shall
    should can could may might must there here which who want need let give make makes made making set show shows see
    look looks looking appears becomes become go pair picture pictures image images photo photograph version wears wear
    wearing worn s of with in on
""")
"""Fillers that a sentence may hold without another reading: not those that negate, compare or name a place."""
ACTIONS = _listed("""
    add remove delete erase hide lose drop draw insert replace swap exchange switch move shift slide push place places
    enlarge grow shrink reduce scale decrease increase size recolor recolour color colour paint dye shade transform
    darken brighten lighten blur
""")
LOOKS = _listed("""
    red blue green yellow orange purple violet pink cyan turquoise teal magenta black white gray grey brown beige gold
    golden silver navy maroon colourful colorful colorless colourless dark darker light lighter bright brighter pale
    paler plain big bigger biggest large larger largest small smaller smallest little tiny huge tall taller short
    shorter long longer wide wider narrow narrower thin thick new old left leftmost right rightmost top bottom upper
    lower middle center centre corner side up down above below under over near next beside away striped stripes dotted
    dots polka checked checkered checks spotted blurred blurry
""")
_SHOWN = 12  # words
_WORD = re.compile(r"[^\W_]+")


def word_class(word: str) -> int:
    """Return the class of a word: 0 for a thing, 1 for a look or a place, 2 for an action, 3 for a filler."""
    lowered = word.lower()
    return 3 if lowered in FILLERS or lowered in NEUTRAL else 2 if lowered in ACTIONS else 1 if lowered in LOOKS else 0


def count_classes(words: Sequence[str]) -> tuple[int, int, int, int]:
    """Count the words of each class: things, looks, actions, fillers."""
    classes = [word_class(word) for word in words]
    return classes.count(0), classes.count(1), classes.count(2), classes.count(3)


def content_words(text: str) -> list[str]:
    """Return the words that carry the meaning: things and looks, or else actions ("remove it")."""
    words = _WORD.findall(text)
    return [word for word in words if word_class(word) < 2] or [word for word in words if word_class(word) == 2]


def say_lost(text: str, unknown: Sequence[str]) -> str | None:
    """Return the message that a model knows no content word of a text; None if it knows one.

    Args:
        text: The text.
        unknown: Its words that the model does not know.
    """
    words, strange = content_words(text), {word.lower() for word in unknown}
    if any(word.lower() not in strange for word in words):
        return None
    named = ", ".join(map(repr, dict.fromkeys(words)))
    return (
        f"knows none of the words that say what is meant ({named})"
        if words
        else "reads no word that says what is meant"
    )


def find_unknown_words(composer: Composer, texts: Sequence[str]) -> list[str]:
    """Return the words of texts that a model does not know; none if its tokenizer has tokens for every word."""
    find = capabilities(composer).unknown_words
    return [] if find is None else list(find(texts))


def check_understood(composer: Composer, text: str, choices: str) -> None:
    """Check that a model knows a content word of a text.

    Args:
        composer: The model. If its tokenizer has tokens for every word, the check passes.
        text: The text.
        choices: The other models, for the message.

    Raises:
        InputError: The model knows no content word.
    """
    can = capabilities(composer)
    if can.unknown_words is None:
        return
    lost = say_lost(text, find_unknown_words(composer, [text]))
    if lost is not None:
        known = [word for word in can.tokenizer.get_vocab() if word.isalpha() and word_class(word) == 0]
        some = ", ".join(sorted(word for word in known if len(word) > 2)[:_SHOWN])
        raise InputError(
            f"text {text!r}: model {composer.name!r} {lost}: use words that it knows ({some} ...), or {choices}"
        )
