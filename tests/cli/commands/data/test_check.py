"""``mmgrad-explain data check`` from the shell's side: formats, opened pictures, wrong input."""

import json
import sys
from functools import partial

import pytest
from PIL import Image

from mmgrad_explain.cli.commands.data import check as data_check
from mmgrad_explain.data.cir.formats import FORMATS


@pytest.fixture
def run(run):
    return partial(run, "data", "check")


def test_pictures_are_opened_where_asked(run, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "c.jpg").write_text("<html>not found</html>")
    records = [
        {"reference": "a.png", "text": "t", "target": "b.png", "split": "train"},
        {"reference": "b.png", "text": "t", "target": "c.jpg", "split": "test"},
    ]
    (tmp_path / "triplets.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert run("jsonl", tmp_path)[0] == 0
    code, out, err = run("jsonl", tmp_path, "--open")
    assert (code, err) == (1, "")
    assert "  test: 1 x image that cannot be read (of 2); fetch it again\n" in out
    assert "c.jpg" in out.split("fetch it again\n")[1].splitlines()[0]
    assert run("jsonl", tmp_path, "--open", "--split", "train")[0] == 0
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    assert "2/2" in run("jsonl", tmp_path, "--open", "--split", "train")[2]


def test_wrong_input(run, tmp_path):
    code, out, err = run("cirr", tmp_path)
    assert (code, out) == (2, "")
    assert err == (
        f"mmgrad-explain: {tmp_path} holds nothing of cirr: there is no cirr/captions/cap.rc2.train.json, "
        "cirr/captions/cap.rc2.val.json, cirr/captions/cap.rc2.test1.json (mmgrad-explain data check --help says what "
        "belongs there)\n"
    )
    assert run("cirr")[0] == 2
    assert "did you mean 'shoes'" in run("shoe", tmp_path)[2]


def test_help_names_every_format(run):
    for name in FORMATS:
        assert f"\n  {name} " in data_check._DETAILS
