"""``mmgrad-explain evaluate`` from the shell's side."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.cli.commands import evaluate
from mmgrad_explain.cli.main import HelpfulParser
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.evaluation.composed_retrieval import QUERY_KINDS


@pytest.fixture
def run(capsys):
    def call(*arguments):
        parser = HelpfulParser(prog="mmgrad-explain")
        evaluate.add_parser(parser.add_subparsers())
        options = parser.parse_args(["evaluate", *map(str, arguments)])
        code = options.run(options)
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def triplets(tmp_path):
    root = tmp_path / "triplets"
    for i in range(4):
        save(root / f"{i}.png", i)
    records = [
        {"reference": f"{i}.png", "text": f"make the  star {word}", "target": f"{(i + 1) % 4}.png"}
        for i, word in enumerate(("red", "frumious", "slithy", "uffish"))
    ]
    (root / "triplets.jsonl").write_text("\n".join(map(json.dumps, records)))
    return root


@pytest.fixture
def cirr(tmp_path):
    """The test split: 51 pictures, one query."""
    root = tmp_path / "CIRR"
    names = [f"test1-{i}-0-img0" for i in range(51)]
    for i, name in enumerate(names):
        save(root / "test1" / f"{name}.png", i)
    query = {"pairid": 7, "reference": names[0], "caption": "make it red", "img_set": {"members": names[:6]}}
    for kind, content in (
        ("captions/cap", [query]), ("image_splits/split", {name: f"./test1/{name}.png" for name in names})
    ):  # fmt: skip
        path = root / "cirr" / f"{kind}.rc2.test1.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return root


def test_a_table(run, triplets, tiny_folder):
    code, out, err = run("--data", f"jsonl:{triplets}", "--model", tiny_folder)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == f"{tiny_folder} on jsonl in {triplets}"
    assert lines[1].startswith("triplets: R@1,5,10,50; recall of any right answer; gallery:")
    assert lines[2] == "all: 4 queries, 4 with target, gallery of 4"
    assert lines[4] == "| query | part | R@1 % | R@5 % | R@10 % | R@50 % |"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[6:9]]
    assert [row[0] for row in rows] == list(QUERY_KINDS)
    assert all(row[1] == "all" and row[3] == "100.00" for row in rows)
    assert lines[10].startswith("mmgrad-explain ")
    assert lines[11] == "odd: all: 4 x caption with several blanks in a row; they become one: 0, 1, 2, 3"
    notes = [line for line in lines if line.startswith("note: ")]
    assert "frumious" in notes[0]
    assert len(notes) == 3


def test_many_notes_are_cut(run, triplets, tiny_folder, monkeypatch):
    monkeypatch.setattr(evaluate, "_NOTICES", 1)
    out = run("--data", f"jsonl:{triplets}", "--model", tiny_folder)[1]
    assert out.splitlines()[-1] == "note: and 2 more about texts; --json has all of them"


def test_json_on_the_screen_and_in_a_file(run, triplets, tiny_folder, tmp_path):
    file = tmp_path / "new" / "figures.json"
    arguments = ("--data", f"jsonl:{triplets}", "--model", tiny_folder, "--out", file, "--keep-reference", "--batch", 3)
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert json.loads(file.read_text()) == found
    assert found["data"]["parts"]["all"] == {"queries": 4, "with target": 4, "gallery": 4}
    assert list(found["figures"]) == list(QUERY_KINDS)
    assert "the reference kept" in found["protocol"]
    assert found["environment"]["torch"]
    assert len(found["notices"]) == 3
    with pytest.raises(OutputExistsError):
        run(*arguments)
    assert run(*arguments, "--overwrite")[0] == 0


def test_a_submission(run, cirr, tiny_folder, tmp_path):
    arguments = ("--data", f"cirr:{cirr}", "--split", "test", "--model", tiny_folder)
    with pytest.raises(InputError, match="the targets of this split are not public"):
        run(*arguments)
    code, out, _ = run(*arguments, "--submission", tmp_path / "sub", "--out", tmp_path / "f.json")
    files = [tmp_path / "sub" / f"cirr_test1_{metric}.json" for metric in ("recall", "recall_subset")]
    assert code == 0
    assert out.splitlines()[-2:] == [f"for the server: {file}" for file in files]
    assert out.splitlines()[4] == "no figures: the targets of this split are not public"
    assert len(json.loads(files[0].read_text())["7"]) == 50
    assert json.loads((tmp_path / "f.json").read_text())["figures"]["model"]["test1"]["R@1"] is None
    with pytest.raises(OutputExistsError, match="is there already"):
        run(*arguments, "--submission", tmp_path / "sub")


def test_semantic_aspects(run, tmp_path, tiny_folder):
    coco = tmp_path / "COCO2017_unlabeled"
    for i in (1, 2, 3):
        save(coco / "unlabeled2017" / f"{i:012d}.jpg", i)
    query = {"id": 0, "reference_img_id": 1, "relative_caption": "make it red", "target_img_id": 2}
    query |= {"gt_img_ids": [2], "semantic_aspects": ["negation"]}
    for path, content in (
        (tmp_path / "annotations" / "val.json", [query]),
        (coco / "annotations" / "image_info_unlabeled2017.json", {"images": [{"id": i} for i in (1, 2, 3)]}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    out = run("--data", f"circo:{tmp_path}", "--model", tiny_folder)[1]
    assert "| semantic aspect | mAP@10 % of the model |\n|---|---|\n| negation | " in out


def test_progress_on_a_terminal(run, triplets, tiny_folder, monkeypatch):
    assert run("--data", f"jsonl:{triplets}", "--model", tiny_folder)[2] == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    err = run("--data", f"jsonl:{triplets}", "--model", tiny_folder, "--batch", 2)[2]
    last = err.split("\r")[-1]
    assert "images " in err
    assert "queries of all" in last
    assert "4/4" in last


def test_wrong_input(run, triplets, tiny_folder, tmp_path):
    data = ("--data", f"jsonl:{triplets}")
    with pytest.raises(InputError, match=r"--data 'cirr' must be NAME:ROOT"):
        run("--data", "cirr")
    with pytest.raises(InputError, match="--batch must be at least 1, got 0"):
        run(*data, "--batch", 0)
    with pytest.raises(InputError, match="no data set format 'cir'"):
        run("--data", f"cir:{triplets}")
    with pytest.raises(InputError, match="no model 'nothing'"):
        run(*data, "--model", "nothing")
    with pytest.raises(InputError, match="device 'tpu9' is unknown"):
        run(*data, "--device", "tpu9")
    with pytest.raises(InputError, match="jsonl has no server"):
        run(*data, "--submission", tmp_path)
    (triplets / "1.png").unlink()
    with pytest.raises(InputError, match=r"cannot be evaluated: all: 1 x image missing or empty \(of 4\)"):
        run(*data, "--model", "nothing")


def test_one_of_several_splits(run, triplets, tiny_folder):
    file = triplets / "triplets.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("\n".join(json.dumps({**r, "split": "ab"[i % 2]}) for i, r in enumerate(records)))
    with pytest.raises(InputError, match="has several splits, say which one with --split: a, b"):
        run("--data", f"jsonl:{triplets}")
    out = run("--data", f"jsonl:{triplets}", "--split", "b", "--model", tiny_folder)[1]
    assert out.splitlines()[2] == "b: 2 queries, 2 with target, gallery of 4"


def test_help(run, capsys):
    with pytest.raises(SystemExit):
        run("--help")
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert "image only" in out


def test_one_category(run, tmp_path, tiny_folder):
    """Of FashionIQ only the dresses are here."""
    names = [f"B{i}" for i in range(4)]
    for i, name in enumerate(names):
        save(tmp_path / "images" / f"{name}.png", i)
    query = {"candidate": names[0], "target": names[1], "captions": ["is red", "is larger"]}
    for file, content in (("captions/cap.dress.val.json", [query]), ("image_splits/split.dress.val.json", names)):
        path = tmp_path / file
        path.parent.mkdir()
        path.write_text(json.dumps(content))
    asked = ("--data", f"fashioniq:{tmp_path}", "--model", tiny_folder)
    with pytest.raises(InputError, match=r"shirt.val: 1 x category without annotations.*--category dress"):
        run(*asked)
    code, out, _ = run(*asked, "--category", "dress", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["data"]["parts"] == {"dress.val": {"queries": 1, "with target": 1, "gallery": 4}}
    assert list(report["figures"]["model"]) == ["dress.val"]
