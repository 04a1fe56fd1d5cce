"""The sentence templates of scenes."""

import re

import pytest

from mmgrad_explain.data.scenes.templates import HELD_OUT_TEMPLATES, SENTENCES, TEMPLATES
from mmgrad_explain.data.scenes.text import VOCABULARY

SLOTS = {
    "recolour": {"subject", "color", "old"}, "reshape": {"subject", "shape"}, "larger": {"subject"},
    "smaller": {"subject"}, "remove": {"subject"}, "move to": {"subject", "place", "where"},
    "move along": {"subject", "direction"}, "add": {"thing", "where"}, "swap": {"subject", "first", "second"},
}  # fmt: skip


def test_held_out_templates_are_others_for_the_same_kinds():
    assert set(HELD_OUT_TEMPLATES) == set(TEMPLATES)
    for kind, templates in HELD_OUT_TEMPLATES.items():
        assert len(templates) >= 2
        assert not set(templates) & set(TEMPLATES[kind])


@pytest.mark.parametrize("set_of_sentences", SENTENCES)
def test_templates_have_the_slots_of_their_kind_and_known_words(set_of_sentences):
    for kind, templates in SENTENCES[set_of_sentences].items():
        for template in templates:
            slots = set(re.findall(r"\{(\w+)\}", template))
            assert slots <= SLOTS[kind.removesuffix(" two")], template
            assert slots & {"subject", "first", "thing"}, template
            assert set(re.sub(r"\{\w+\}", " ", template).split()) <= set(VOCABULARY), template


@pytest.mark.parametrize("set_of_sentences", SENTENCES)
def test_sentences_about_two_objects_are_plural_and_name_no_old_colour(set_of_sentences):
    sentences = SENTENCES[set_of_sentences]
    two = {kind for kind in sentences if kind.endswith(" two")}
    assert two == {f"{kind} two" for kind in ("recolour", "larger", "smaller", "remove")}
    for kind in two:
        assert not any(" is now " in text or "{old}" in text for text in sentences[kind])
        assert len(sentences[kind]) == sum("{old}" not in text for text in sentences[kind.removesuffix(" two")])
