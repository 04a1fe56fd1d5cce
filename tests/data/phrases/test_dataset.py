"""Phrase sets: choosing samples, templates, images that are missing."""

from pathlib import Path

import pytest

from mmgrad_explain.data.phrases import Box, PhraseSample, PhraseSet, Region
from mmgrad_explain.errors import InputError

REGION = Region((Box(0, 0, 1, 1),))


def make(count, folder=Path("x")):
    samples = [
        PhraseSample(str(i), f"text {i}", "ab"[i % 2], folder / f"{i // 3}.png", f"{i // 3}", REGION)
        for i in range(count)
    ]
    return PhraseSet("coco", folder, "class names", tuple(samples), {"odd thing": ["a", "b", "c", "d"]})


def ids(found):
    return [sample.id for sample in found.samples]


def test_by_kind_and_phrase():
    found = make(6)
    assert found.kinds == ("a", "b")
    assert ids(found.select(kinds=["a"])) == ["0", "2", "4"]
    assert ids(found.select(phrases=["TEXT 3", "5"])) == ["3", "5"]
    assert ids(found.select()) == ids(found)


def test_a_limit_draws_whole_images_and_keeps_the_order():
    found = make(30)
    chosen = found.select(limit=7)
    assert len(chosen) == 7
    assert ids(chosen) == sorted(ids(chosen), key=int)
    per_image = [sum(s.image_name == name for s in chosen.samples) for name in {s.image_name for s in chosen.samples}]
    assert sorted(per_image) == [1, 3, 3]
    assert ids(found.select(limit=7)) == ids(chosen) != ids(found.select(limit=7, seed=1))
    assert len(found.select(limit=99)) == 30


def test_a_template():
    assert make(1).with_template("a photo of a {}").samples[0].text == "a photo of a text 0"
    for wrong in ("nothing", "{} and {}"):
        with pytest.raises(InputError, match=r"must have \{\} once"):
            make(1).with_template(wrong)


def test_wrong_choices():
    for options, message in [
        ({"kinds": ["c"]}, "kinds: there is no 'c'; .*there are a, b"),
        ({"phrases": ["nothing"]}, "no text contains 'nothing'"),
        ({"limit": 0}, "limit must be at least 1"),
    ]:
        with pytest.raises(InputError, match=message):
            make(3).select(**options)


def test_missing_images_are_counted_and_named(tmp_path, put_image):
    found = make(6, tmp_path)
    put_image(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"1 of 2 images of coco are missing: .*1\.png; name their folder"):
        found.require_images()
    put_image(tmp_path / "1.png")
    found.require_images()


def test_problems_are_counted_and_named():
    assert make(1).problem_lines() == ["4 x odd thing: a, b, c ..."]
