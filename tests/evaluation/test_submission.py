"""Submissions keep the servers' rules, which are known from the published examples."""

import json

import pytest

from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.evaluation import submission as sut
from mmgrad_explain.evaluation.submission import circo_submission, cirr_submission, write_submission

NAMES = [f"test1-{i}-0-img0" for i in range(60)]
REFERENCES = {"12063": NAMES[59], "12064": NAMES[0]}
GROUPS = {"12063": [NAMES[59], *NAMES[:5]], "12064": NAMES[:6]}


def rankings(metric):
    if metric == "recall":
        return {"12063": NAMES[:50], "12064": NAMES[1:51]}
    return {"12063": NAMES[:3], "12064": NAMES[3:6]}


@pytest.mark.parametrize(("metric", "count"), [("recall", 50), ("recall_subset", 3)])
def test_cirr(tmp_path, metric, count):
    made = cirr_submission(metric, rankings(metric), REFERENCES, GROUPS)
    write_submission(made, tmp_path / "new" / "file.json")
    found = json.loads((tmp_path / "new" / "file.json").read_text())
    assert (found.pop("version"), found.pop("metric")) == ("rc2", metric)
    assert set(found) == set(REFERENCES)
    for pair, names in found.items():
        assert len(set(names)) == len(names) == count
        assert REFERENCES[pair] not in names
        assert metric == "recall" or set(names) < set(GROUPS[pair])


@pytest.mark.parametrize(
    ("metric", "change", "message"),
    [
        ("recall", {"12063": None}, "a submission needs all 2 queries: 1 are missing, first 12063"),
        ("recall", {"1": NAMES[:50]}, "needs all 2 queries: 1 are unknown, first 1"),
        ("recall", {"12063": NAMES[:49]}, "query 12063: 49 answers, but it must be 50"),
        ("recall", {"12063": [*NAMES[:49], NAMES[0]]}, "query 12063: an image is among the answers twice"),
        ("recall", {"12064": NAMES[:50]}, "query 12064: the reference test1-0-0-img0 must not be among the answers"),
        ("recall_subset", {"12063": NAMES[3:6]}, "query 12063: test1-5-0-img0 is not in its group"),
        ("recall_subset", {"12063": NAMES[:4]}, "query 12063: 4 answers, but it must be 3"),
    ],
)
def test_rules_of_cirr(metric, change, message):
    broken = {pair: names for pair, names in {**rankings(metric), **change}.items() if names is not None}
    with pytest.raises(InputError, match=message):
        cirr_submission(metric, broken, REFERENCES, GROUPS)


EXAMPLE = json.dumps({str(query): [1000 * query + i for i in range(50)] for query in range(4)}).encode()


def test_circo_writes_the_published_form(tmp_path):
    """A miniature of the published example: text keys in the order of the queries, lists of 50 numbers."""
    answers = {query: [str(i) for i in images] for query, images in json.loads(EXAMPLE).items()}
    shuffled = {query: answers[query] for query in ("2", "0", "3", "1")}
    write_submission(circo_submission(shuffled, ["0", "1", "2", "3"]), tmp_path / "submission.json")
    assert (tmp_path / "submission.json").read_bytes() == EXAMPLE


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "a submission needs all 1 queries: 1 are missing, first 0"),
        ({"0": [str(i) for i in range(51)]}, "query 0: 51 answers, but it must be 50"),
        ({"0": ["7"] * 50}, "query 0: an image is among the answers twice"),
        ({"0": [f"{i}.jpg" for i in range(50)]}, "query 0: '0.jpg' is not the number of a COCO image"),
    ],
)
def test_rules_of_circo(answers, message):
    with pytest.raises(InputError, match=message):
        circo_submission(answers, ["0"])


def test_files(tmp_path, monkeypatch):
    made = cirr_submission("recall_subset", rankings("recall_subset"), REFERENCES, GROUPS)
    write_submission(made, tmp_path / "file.json")
    with pytest.raises(OutputExistsError):
        write_submission(made, tmp_path / "file.json")
    write_submission(made, tmp_path / "file.json", overwrite=True)
    monkeypatch.setattr(sut, "CIRR_BYTES", 100)
    with pytest.raises(InputError, match=r"the submission has \d+ bytes, the server takes 100"):
        write_submission(made, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()
