"""Plurals, and class names as people say them."""

import pytest

from mmgrad_explain.data.edits.nouns import is_plural, make_noun, make_plural


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("dog", "dogs"), ("teddy bear", "teddy bears"), ("bus", "buses"), ("dress", "dresses"), ("person", "people"),
        ("knife", "knives"), ("berry", "berries"), ("boy", "boys"), ("bench", "benches"), ("shoes", "shoes"),
        ("skis", "skis"), ("sheep", "sheep"), ("wine glass", "wine glasses"), ("glasses", "glasses"),
    ],
)  # fmt: skip
def test_plurals(noun, plural):
    assert make_plural(noun) == plural
    assert is_plural(plural)


@pytest.mark.parametrize("noun", ["dress", "bus", "grass", "tennis racket", "dog", ""])
def test_singulars(noun):
    assert not is_plural(noun)


def test_class_names_as_they_are_said():
    assert make_noun("sky-other-merged") == "sky"
    assert make_noun("wall-brick") == "brick wall"
    assert make_noun("floor-wood") == "wood floor"
    assert make_noun("Door-Stuff") == "door"
    assert make_noun("hot_dog") == "hot dog"
    assert make_noun("t-shirt") == "t-shirt"
