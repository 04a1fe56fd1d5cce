"""Triplet sets as phrase sets: what is added is judged on the target."""

import pytest

from mmgrad_explain.data.phrases import read_phrases
from mmgrad_explain.errors import InputError


def test_the_edits_of_a_set(triplets):
    found = read_phrases(triplets / "triplets.jsonl")
    assert [(s.id, s.text, s.kind, s.on_target) for s in found.samples] == [
        ("0", "make it red", "colour", False),
        ("1", "add a dog", "add", True),
    ]
    assert [s.judged_image.name for s in found.samples] == ["a.png", "c.png"]
    assert int(found.samples[0].region.draw(40, 60).sum()) == 200
    found.require_images()


def test_a_fold(triplets):
    assert [sample.id for sample in read_phrases(triplets, split="1").samples] == ["1"]
    with pytest.raises(InputError, match="a triplet set has folds, such as 0, not 'val'"):
        read_phrases(triplets, split="val")
