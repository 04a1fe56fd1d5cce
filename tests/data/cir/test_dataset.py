"""Composed-retrieval sets in memory: texts for models, findings, and what a set counts."""

from pathlib import Path

import pytest

from mmgrad_explain.data.cir.dataset import (
    SHOWN,
    CirSet,
    CirTriplet,
    Finding,
    ImageIndex,
    find_level,
    list_used_images,
    sort_by_level,
)
from mmgrad_explain.errors import InputError

FIRST = CirTriplet("1", "a", ("redder",), "b", ("b", "c"), ("a", "b", "d"))
HIDDEN = CirTriplet("2", "b", ("no  dog",))


def finding(level, where="val"):
    (found,) = Finding.of(level, where, "thing", ["x"], "mend it")
    return found


@pytest.fixture
def data():
    paths = {name: Path("images", name) for name in "abcd"}
    index = ImageIndex(paths, frozenset("d"), {"val": ("a", "b", "c")})
    return CirSet("cirr", Path("root"), {"val": (FIRST, HIDDEN)}, index, (finding("odd"), finding("absent")))


@pytest.mark.parametrize(
    ("captions", "text"),
    [
        (("two  dogs ",), "two dogs"),
        (("Is it red?",), "Is it red?"),
        (("is red.", "Has sleeves?"), "Is red and Has sleeves"),
        (("", " has sleeves,"), "Has sleeves"),
        ((" ", "."), ""),
        ((), ""),
    ],
)
def test_captions_become_one_text(captions, text):
    assert CirTriplet("1", "a", captions).text == text


def test_a_finding_counts_all_names_and_keeps_some():
    names = [f"n{i}" for i in range(SHOWN + 2)]
    (found,) = Finding.of("odd", "val", "thing", iter(names), "mend it")
    assert (found.count, found.first) == (SHOWN + 2, tuple(names[:SHOWN]))
    assert str(found) == f"val: {SHOWN + 2} x thing; mend it: n0, n1, n2, n3, n4 and 2 more"
    assert Finding.of("odd", "val", "thing", [], "mend it") == []


def test_findings_are_sorted_worst_first_and_stay_in_order():
    found = [
        finding(*what) for what in (("odd", "1"), ("needed", "2"), ("absent", "3"), ("odd", "4"), ("training", "5"))
    ]
    assert [f.where for f in sort_by_level(found)] == ["2", "5", "3", "1", "4"]


@pytest.mark.parametrize(
    ("part", "level"), [("train", "training"), ("dress.train", "training"), ("val", "needed"), ("train.val", "needed")]
)
def test_what_a_training_split_lacks_is_needed_only_to_train(part, level):
    assert find_level(part) == level


def test_used_images_are_listed_once():
    assert list_used_images([FIRST, HIDDEN], ["c", "e"]) == ["c", "e", "a", "b", "d"]


def test_images_have_paths_unless_they_are_missing(data):
    assert data.images.path("a") == Path("images/a")
    with pytest.raises(InputError, match=r"the image 'd' is missing: there should be images.d"):
        data.images.path("d")
    with pytest.raises(InputError, match="no image 'z' in this data set"):
        data.images.path("z")


def test_a_summary_counts_parts_and_images(data):
    part = {"queries": 2, "with target": 1, "gallery": 3, "references and targets": 2, "groups": 1}
    assert data.summarize() == {"parts": {"val": part}, "pictures": 4, "missing": 1}


def test_only_what_evaluation_needs_makes_a_set_incomplete(data):
    assert data.complete
    data.require()
    broken = CirSet(data.name, data.root, data.queries, data.images, (finding("needed"), finding("needed", "test")))
    assert not broken.complete
    with pytest.raises(
        InputError, match=r"cirr in root cannot be evaluated: val: 1 x thing; mend it: x \(and 1 findings"
    ):
        broken.require()
