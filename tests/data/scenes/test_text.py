"""Descriptions and sentences of generated scenes."""

from collections import Counter

import numpy as np
import pytest

from mmgrad_explain.data.scenes import text as scene_text
from mmgrad_explain.data.scenes import words as scene_words
from mmgrad_explain.data.scenes.drawing import COLORS, SHAPES
from mmgrad_explain.data.scenes.text import VOCABULARY


def test_every_word_is_in_the_vocabulary(many):
    texts = [t.text for s, _ in many for t in s.triplets]
    assert len(texts) == 2000
    assert set(" ".join(texts).split(" ")) <= set(VOCABULARY)
    assert all(text.isascii() and text == text.lower() for text in texts)
    assert list(VOCABULARY) == sorted(set(VOCABULARY))
    parts = [(t, part) for s, _ in many for t in s.triplets for part in t.subject.split(" and ")]
    assert all(part in t.text or part == "it" for t, part in parts)


def _meant(phrase, objects):
    """The objects that a noun phrase fits, read word by word."""
    for relation, fits in {
        " to the left of ": lambda o, by: o.u < by.u,
        " left of ": lambda o, by: o.u < by.u,
        " to the right of ": lambda o, by: o.u > by.u,
        " right of ": lambda o, by: o.u > by.u,
        " above ": lambda o, by: o.v < by.v,
        " over ": lambda o, by: o.v < by.v,
        " below ": lambda o, by: o.v > by.v,
        " under ": lambda o, by: o.v > by.v,
    }.items():
        if relation in phrase:
            subject, anchor = phrase.split(relation)
            (by,) = _meant(anchor, objects)
            rivals = [o for o in _meant(subject, objects) if o is not by]
            return [o for o in rivals if fits(o, by)]
    for relation in (" next to ", " beside ", " near "):
        if relation in phrase:
            subject, anchor = phrase.split(relation)
            (by,) = _meant(anchor, objects)
            rivals = [o for o in _meant(subject, objects) if o is not by]
            rivals.sort(key=lambda o: np.hypot(o.u - by.u, o.v - by.v))
            assert len(rivals) > 1
            first, second = (np.hypot(o.u - by.u, o.v - by.v) for o in rivals[:2])
            assert first < 0.36
            assert second > 1.6 * first
            return rivals[:1]
    fitting = list(objects)
    for table, attribute in (
        (scene_words.COLOR_WORDS, "color"),
        (scene_words.SHAPE_WORDS, "shape"),
        (scene_words.SIZE_WORDS, "size"),
    ):
        for key, words in table.items():
            if set(words) & set(phrase.split()):
                fitting = [o for o in fitting if getattr(o, attribute) == key]
    sides = {
        "left": lambda o: o.u,
        "right": lambda o: -o.u,
        "top": lambda o: o.v,
        "bottom": lambda o: -o.v,
    }
    synonyms = {"leftmost": "left", "rightmost": "right", "upper": "top", "lower": "bottom"}
    for word in phrase.split():
        if place := sides.get(synonyms.get(word, word)):
            ordered = sorted(fitting, key=place)
            assert len(ordered) > 1
            assert place(ordered[1]) - place(ordered[0]) > 0.1
            fitting = ordered[:1]
    return fitting


def _covers(mask, things):
    """Whether a mask has something around each of these objects, and nothing elsewhere."""
    y, x = np.nonzero(mask)
    near = [np.hypot(x + 0.5 - o.x, y + 0.5 - o.y) < o.radius + 1 for o in things]
    return all(part.any() for part in near) and np.any(near, axis=0).all()


def test_subject_means_exactly_the_edited_objects(many):
    named = Counter()
    for scene, stage in many:
        for t in scene.triplets:
            if t.edit == "add":
                continue
            named[scene_text.find_qualifier(t.subject)] += 1
            things = []
            for phrase in t.subject.split(" and "):
                fitting = stage.objects if phrase == "it" else _meant(phrase, stage.objects)
                assert len(fitting) == 1, t.text
                things += fitting
            assert _covers(t.reference_mask, things), t.text
            assert t.objects == tuple(things)
    assert named["relation"] > 60
    assert named["two"] > 100
    assert sum(count for name, count in named.items() if "place" in name) > 60


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("it", "it"),
        ("the small red one", "size, color"),
        ("the star on the left", "shape, place"),
        ("the upper thing", "place"),
        ("the one to the left of the ring", "relation"),
        ("the small star next to the red one", "relation"),
        ("the star and the ring on the right", "two"),
    ],
)
def test_what_names_an_object(subject, expected):
    assert scene_text.find_qualifier(subject) == expected


def test_scenes_need_every_kind_of_description(many):
    counts = Counter(len(stage.objects) for _, stage in many)
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    words = Counter(w for s, _ in many for t in s.triplets for w in set(t.subject.split()))
    for table in (scene_words.COLOR_WORDS, scene_words.SHAPE_WORDS, scene_words.SIZE_WORDS):
        assert all(words[names[0]] > 5 for names in table.values())
    assert set(COLORS) == set(scene_words.COLOR_WORDS)
    assert set(SHAPES) == set(scene_words.SHAPE_WORDS)
    alike = [len({o.shape for o in s.objects}) < len(s.objects) for _, s in many if len(s.objects) > 1]
    assert 0.3 < np.mean(alike) < 0.8
