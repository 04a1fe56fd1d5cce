"""``mmgrad-explain data check`` from the shell's side."""

import json
from functools import partial
from pathlib import Path

import pytest

from mmgrad_explain.data.cir.formats import FORMATS
from mmgrad_explain.metrics.protocols import PROTOCOLS

ADVICE = "ask the makers of NLVR2 for its images and put train/, dev/ and test1/ into the folder"


@pytest.fixture
def run(run):
    return partial(run, "data", "check")


@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_complete(run, request, name):
    root = request.getfixturevalue(name)
    code, out, err = run(name, root)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{name} in {root}"
    assert lines[-1] == "all that evaluation needs is there"


def test_what_is_said(run, cirr, change):
    (cirr / "img_raw" / "dev" / "dev-7-0-img0.png").unlink()
    change(cirr / "captions" / "cap.rc2.val.json", lambda entries: [{**e, "caption": "a  dog"} for e in entries])
    for name in ("captions/cap.rc2.train.json", "image_splits/split.rc2.train.json"):
        (cirr / name).unlink()
    code, out, err = run("cirr", cirr)
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"cirr in {cirr}",
        "  val          2 queries (2 with target), gallery of 8, references and targets 3, 1 groups",
        "  test1        2 queries (0 with target), gallery of 8, references and targets 2, 1 groups",
        "  images       15 of 16 are there",
        "",
        "missing, and needed to evaluate:",
        f"  val: 1 x image missing or empty (of 8); {ADVICE}",
        "      img_raw/dev/dev-7-0-img0.png",
        "",
        "not here:",
        "  train: 1 x no annotations; the rest can be used without it",
        "      captions/cap.rc2.train.json",
        "",
        "odd, and taken as it is:",
        "  val: 2 x caption with several blanks in a row; they become one",
        "      10, 11",
        "",
        "evaluation would miss something",
    ]
    code, out, _ = run("cirr", cirr, "--split", "test")
    assert (code, out.splitlines()[1].split()[0]) == (0, "test1")


def test_json(run, fashioniq):
    (fashioniq / "images" / "Bdressval4.jpg").unlink()
    code, out, err = run("fashioniq", fashioniq, "--json", "--split", "val")
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert (found["name"], found["root"], found["complete"]) == ("fashioniq", str(fashioniq), False)
    assert found["parts"]["toptee.val"] == {
        "queries": 2, "with target": 2, "gallery": 6, "references and targets": 4,
    }  # fmt: skip
    assert (found["pictures"], found["missing"]) == (15, 1)
    assert found["findings"][0] == {
        "level": "needed",
        "where": "dress.val",
        "what": "image missing or empty (of 5)",
        "count": 1,
        "first": ["images/Bdressval4.jpg"],
        "advice": "put the images into images/, as ASIN.jpg or ASIN.png",
    }


def test_the_docs_have_every_format_and_its_figures():
    docs = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    for name, known in FORMATS.items():
        (row,) = [line for line in docs.splitlines() if line.startswith(f"| `{name}` | ")]
        for split in (*known.splits, *known.other_names):
            assert name == "jsonl" or split in row or split == "dev"
    for protocol in PROTOCOLS.values():
        title = "jsonl" if protocol.name == "triplets" else protocol.name
        (row,) = [line for line in docs.splitlines() if line.startswith(f"| {title} | ")]
        for figure, ks in protocol.cutoffs.items():
            assert f"{figure}@{', '.join(map(str, ks))}" in row
        assert f"| {'removed' if protocol.exclude_reference else 'kept'} |" in row
