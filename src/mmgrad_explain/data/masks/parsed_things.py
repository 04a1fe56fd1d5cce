"""Find the things that a modifier text speaks of with spaCy, a parser: the nouns that no other noun follows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.edits.nouns import make_singular
from mmgrad_explain.data.masks.settings import RULE, check_words
from mmgrad_explain.data.masks.spoken_things import find_things, may_be_thing
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_MODEL = "en_core_web_sm"


def thing_finder(name: str) -> Callable[[str], tuple[str, ...]]:
    """Return what finds the things in a text.

    Args:
        name: ``rule`` is :func:`~mmgrad_explain.data.masks.spoken_things.find_things`; ``spacy`` parses with
            ``en_core_web_sm``, ``spacy:MODEL`` with another of spaCy's English models or the folder of one.

    Raises:
        ImportError: spaCy is not installed.
        InputError: There is no such way, or spaCy has no such model.
    """
    check_words(name)
    if name == RULE:
        return find_things
    parser = _load(name.partition(":")[2] or DEFAULT_MODEL)

    def find(text: str) -> tuple[str, ...]:
        things: dict[str, str] = {}
        for token in parser(text.lower()):
            noun = token.pos_ in {"NOUN", "PROPN"} and token.dep_ != "compound"
            if noun and may_be_thing(token.text):
                things.setdefault(make_singular(token.text), token.text)
        return tuple(things.values())

    return find


@lru_cache(maxsize=1)
def _load(model: str) -> Any:
    try:
        import spacy
    except ImportError as error:
        raise ImportError('words: spacy needs spaCy: pip install "mmgrad-explain[parser]"') from error
    try:
        return spacy.load(model, exclude=["ner"])
    except OSError as error:
        raise InputError(
            f"words: spaCy has no model {model!r}: `python -m spacy download {DEFAULT_MODEL}` fetches its smallest "
            "English one"
        ) from error
