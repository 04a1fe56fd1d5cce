"""The checks of queries and galleries, on queries in memory."""

import pytest

from mmgrad_explain.data.cir.checks import gallery_findings, query_findings
from mmgrad_explain.data.cir.dataset import CirTriplet


def findings(queries, gallery=("a", "b", "c"), known=("a", "b", "c"), part="val"):
    return {f.what: (f.level, f.first) for f in query_findings(part, queries, gallery, known, "needed")}


def query(name="1", reference="a", captions=("redder",), target="b", **more):
    more.setdefault("relevant", (target,) if target else ())
    return CirTriplet(name, reference, captions, target, **more)


def test_queries_in_order_have_no_finding():
    assert findings([query(), query("2", captions=("darker",))]) == {}


def test_an_image_that_a_gallery_lists_twice_is_named_once():
    (finding,) = gallery_findings("val", ["a", "b", "a", "a"])
    assert (finding.level, finding.count, finding.first) == ("odd", 1, ("a",))
    assert list(gallery_findings("val", ["a", "b"])) == []


@pytest.mark.parametrize(
    ("bad", "what", "expected"),
    [
        ({"reference": "x"}, "reference that no list of images names", ("needed", ("x of 9",))),
        ({"target": "x"}, "target that is not in the gallery", ("needed", ("x of 9",))),
        ({"group": ("a", "b", "x")}, "member of a group that is not in the gallery", ("needed", ("x of 9",))),
        ({"group": ("b", "c")}, "query whose reference is not in its group", ("odd", ("9",))),
        ({"group": ("a", "c")}, "query whose target is not in its group", ("needed", ("9",))),
        ({"target": None}, "query without a target", ("needed", ("9",))),
        ({"target": "a"}, "query whose target is its reference", ("odd", ("9",))),
        ({"captions": ("",)}, "query without a word", ("odd", ("9",))),
        ({"captions": ("", "red")}, "query with an empty caption beside others", ("odd", ("9",))),
        ({"captions": (" red",)}, "caption with blanks at its ends", ("odd", ("9",))),
        ({"captions": ("a  dog",)}, "caption with several blanks in a row", ("odd", ("9",))),
        ({"soft": {"b": 0.5}}, "query whose hard target is not a full soft target", ("odd", ("9",))),
        ({"soft": {"a": 1.0, "b": 1.0}}, "query whose reference is a soft target", ("odd", ("9",))),
        (
            {"group": ("a", "b"), "soft": {"b": 1.0, "c": 0.5}},
            "query with soft targets outside its group", ("odd", ("9",)),
        ),
    ],
)  # fmt: skip
def test_each_oddity_has_its_finding(bad, what, expected):
    assert findings([query(captions=("darker",)), query("9", **bad)]) == {what: expected}


def test_queries_that_are_alike_and_ids_that_occur_twice():
    found = findings([query(), query(), query("3")])
    assert found["id that occurs more than once"] == ("needed", ("1",))
    assert found["query that says the same as another"] == ("odd", ("1", "1", "3"))


@pytest.mark.parametrize(("part", "complains"), [("test1", False), ("dress.test", False), ("val", True)])
def test_only_hidden_splits_may_lack_all_targets(part, complains):
    assert ("query without a target" in findings([query(target=None)], part=part)) == complains


def test_an_empty_gallery_is_one_finding():
    assert findings([query(group=("a", "b"))], gallery=()) == {"gallery without an image": ("needed", ("val",))}
