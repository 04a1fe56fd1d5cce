"""The JSON that the page offers."""

import json

import pytest

from mmgrad_explain.api import explain
from mmgrad_explain.web.records import explanation_record


@pytest.fixture
def explanation(tiny, picture):
    return explain(picture, ["make it red", "remove it"], picture.rotate(90), model=tiny, score="similarity")


def test_each_sample_and_its_target(explanation):
    record = explanation_record({"k": 3}, explanation)
    assert (record["format"], record["asked"]) == ("mmgrad_explain.page/1", {"k": 3})
    assert record["explanation"] == explanation.manifest()
    sides = [
        ("make it red", "reference"),
        ("make it red", "target"),
        ("remove it", "reference"),
        ("remove it", "target"),
    ]
    assert [(one["text"], one["of"]) for one in record["maps"]] == sides
    last = record["maps"][-1]
    assert last["score"] == float(explanation.score[1])
    assert last["grid"] == explanation.calls[1][1].tolist()
    assert last["in_words"] == explanation.in_words(1, target=True)
    region = explanation.brightest_region(1, target=True)
    assert last["brightest_region"] == (None if region is None else region.to_dict())
    assert last["notes"] == [note.text for note in explanation.notes_of(1)]


def test_it_is_json(explanation):
    record = explanation_record({}, explanation)
    assert json.loads(json.dumps(record, allow_nan=False))["maps"] == record["maps"]
