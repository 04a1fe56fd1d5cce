"""The things that a parser finds in texts, with a stand-in for spaCy that knows a few words."""

import sys
from types import SimpleNamespace

import pytest

from mmgrad_explain.data.masks import parsed_things
from mmgrad_explain.data.masks.parsed_things import thing_finder
from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.errors import InputError

NOUNS = {"dog", "leash", "color", "sleeves", "tank", "top"}


def load(model, exclude):
    assert exclude == ["ner"]
    if model != "en_core_web_sm":
        raise OSError(model)

    def parse(text):
        words = text.split()
        return [
            SimpleNamespace(
                text=word,
                pos_="NOUN" if word in NOUNS else "ADJ",
                dep_="compound" if word in NOUNS and set(words[i + 1 : i + 2]) & NOUNS else "obj",
            )
            for i, word in enumerate(words)
        ]

    return parse


@pytest.fixture
def spacy(monkeypatch):
    parsed_things._load.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    yield
    parsed_things._load.cache_clear()


@pytest.mark.usefixtures("spacy")
def test_nouns_that_name_things_are_found():
    find = thing_finder("spacy")
    assert find("A second dog on a Leash beside the dog") == ("dog", "leash")
    assert find("is a tank top with longer sleeves") == ("top", "sleeves")
    assert find("is a darker color") == ()
    with pytest.raises(InputError, match=r"spaCy has no model 'de_core_news': `python -m spacy download"):
        thing_finder("spacy:de_core_news")


def test_without_spacy_the_extra_is_named(monkeypatch):
    parsed_things._load.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ImportError, match=r"mmgrad-explain\[parser\]"):
        thing_finder("spacy")
    assert thing_finder("rule")("has no sleeves") == ("sleeves",)


@pytest.mark.parametrize("name", ["nltk", "rule:x", "spacy:", ""])
def test_other_ways_are_refused(name):
    with pytest.raises(InputError, match=r"words: must be rule, spacy or spacy:MODEL, not"):
        MaskSettings(words=name)


def test_the_way_is_part_of_the_hash():
    assert MaskSettings(words="spacy").hash() != MaskSettings().hash()
