"""``mmgrad-explain data edits`` from the shell's side."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.cli.commands.data import edits as data_edits
from mmgrad_explain.data.triplets import read_triplets

SIZE = 64


@pytest.fixture
def run(run):
    return partial(run, "data", "edits")


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """Three photographs with index masks of a dress and shoes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        pixels = rng.integers(100, 140, (SIZE, SIZE, 3)).astype(np.uint8)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:36, 20:46], mask[48:60, 14:50] = 1, 2
        pixels[mask == 1], pixels[mask == 2] = rng.integers(0, 255, 3), rng.integers(0, 255, 3)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.jpg")
        Image.fromarray(mask).save(tmp_path / "labels" / f"{number}.png")
    (tmp_path / "labels.json").write_text(json.dumps(["null", "dress", "shoes"]))
    return tmp_path


MASKS = ("photos", "--labels", "labels", "--kinds", "recolour,darken", "--workers", 1)


def test_index_masks_become_a_set(run, clothes):
    code, out, err = run(*MASKS, "--out", "set", "--license", "CC0", "--edits-per-image", 2)
    assert code == 0
    assert err == ""
    triplets = read_triplets("set")
    assert len(triplets) == 6
    assert {t.class_name for t in triplets} == {"dress", "shoes"}
    assert {t.licence for t in triplets} == {"CC0"}
    lines = out.splitlines()
    assert lines[0] == "set"
    assert lines[1] == "  triplets     6 from 3 photographs (3 tried, 3 in the data set)"
    assert "recolour" in lines[2]
    assert "  licences     CC0 6" in lines
    assert lines[-1] == "  look at      set/contact_sheet.png"
    with Image.open("set/contact_sheet.png") as sheet:
        assert sheet.width > 3 * 160


def test_json_and_no_sheet(run, clothes):
    code, out, _ = run(*MASKS, "--out", "set", "--count", 3, "--sheet", 0, "--json", "--format", "png", "--split", 1)
    assert code == 0
    result = json.loads(out)
    assert (result["folder"], result["sheet"], result["count"], result["asked"]) == ("set", None, 3, 3)
    assert result["folds"] == {"0": 3}
    assert not (clothes / "set" / "contact_sheet.png").exists()


def test_too_few_and_left_out_are_said(run, clothes):
    (clothes / "photos" / "2.jpg").unlink()
    code, out, _ = run(*MASKS, "--out", "set", "--count", 100, "--ignore", "shoes", "--max-area", 0.175)
    assert code == 2  # the dress is larger than that
    code, out, _ = run(*MASKS, "--out", "other", "--count", 100, "--max-area", 0.15, "--objects", "components")
    assert code == 0
    assert "note         100 were asked for; the data set gives no more with these options" in out
    assert "left out     object too large 2" in out
    assert "problem      mask without a photograph: 1, first 2.png" in out


def test_coco(run, clothes):
    box = [20, 8, 46, 8, 46, 36, 20, 36]
    content = {
        "images": [{"id": 1, "file_name": "0.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [box]}],
        "categories": [{"id": 1, "name": "dress"}],
    }
    (clothes / "instances.json").write_text(json.dumps(content))
    code, out, _ = run("photos", "--annotations", "instances.json", "--out", "set", "--workers", 1)
    assert code == 0
    assert "contrast     0 triplets" in out
    assert {t.class_name for t in read_triplets("set")} == {"dress"}


def test_a_finished_set_is_resumed_or_replaced(run, failed, clothes):
    assert run(*MASKS, "--out", "set", "--count", 2)[0] == 0
    failed(run(*MASKS, "--out", "set"), "set is not empty", "--resume", "--overwrite")
    assert run(*MASKS, "--out", "set", "--count", 5, "--resume")[0] == 0
    assert len(read_triplets("set")) == 5
    failed(run(*MASKS, "--out", "set", "--seed", 1, "--resume"), "seed = 0, not 1")
    assert run(*MASKS, "--out", "set", "--seed", 1, "--count", 1, "--overwrite")[0] == 0
    assert len(read_triplets("set")) == 1


def test_ctrl_c_says_how_to_go_on(run, clothes, monkeypatch):
    from mmgrad_explain.data.edits import build as edits

    original = edits.make_triplets

    def stop(photo, *rest, **more):
        if (clothes / "set" / "journal.jsonl").read_text():
            raise KeyboardInterrupt
        return original(photo, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(edits, "make_triplets", stop)
        code, out, err = run(*MASKS, "--out", "set")
    assert (code, out) == (130, "")
    command = f"data edits {' '.join(map(str, MASKS))} --out set --resume"
    assert err == f"mmgrad-explain: stopped: go on with: mmgrad-explain {command}\n"
    assert run(*command.split()[2:])[0] == 0
    assert len({t.source_image for t in read_triplets("set")}) == 3


def test_progress_is_for_terminals(run, clothes, monkeypatch):
    class Terminal:
        text = ""

        def isatty(self):
            return True

        def write(self, text):
            Terminal.text += text

        def flush(self):
            pass

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(data_edits.sys, "stderr", Terminal())
    assert run(*MASKS, "--out", "set", "--count", 2)[0] == 0
    assert run(*MASKS, "--out", "all")[0] == 0
    assert "2/2" in Terminal.text
    assert "from 1 photographs" in Terminal.text
    assert "from 3 photographs\n" in Terminal.text


def test_a_failing_sheet_leaves_the_set(run, clothes, monkeypatch):
    from mmgrad_explain.data import contact_sheet
    from mmgrad_explain.errors import InputError

    def fail(*_):
        raise InputError("no font")

    monkeypatch.setattr(contact_sheet, "draw_contact_sheet", fail)
    code, out, err = run(*MASKS, "--out", "set", "--count", 1)
    assert code == 0
    assert err == "note: no contact sheet: no font\n"
    assert "look at" not in out


def test_all_cores_are_used_unless_said_otherwise(run, clothes, monkeypatch):
    monkeypatch.setattr(data_edits, "count_cores", lambda: 1)
    assert run(*MASKS[:-2], "--out", "set", "--count", 1)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("photos", "--out", "set"), ("either --annotations FILE (COCO) or --labels DIR",)),
        (("photos", "--labels", "labels", "--annotations", "x.json", "--out", "set"), ("either --annotations",)),
        (("nowhere", "--labels", "labels", "--out", "set"), ("SOURCE nowhere is not a folder",)),
        ((*MASKS, "--out", "set", "--sheet", "-1"), ("--sheet must not be negative",)),
        ((*MASKS, "--out", "set", "--overwrite", "--resume"), ("exclude each other",)),
        ((*MASKS, "--out", "set", "--kinds", "recolor"), ("no edit 'recolor'", "did you mean 'recolour'")),
        ((*MASKS, "--out", "set", "--kinds", ","), ("kinds is empty",)),
        ((*MASKS, "--out", "set", "--size", 3), ("size must be between 32 and 4096",)),
        ((*MASKS, "--out", "set", "--split", 0), ("folds must be at least 1",)),
        ((*MASKS, "--out", "set", "--count", 0), ("count must be at least 1",)),
        ((*MASKS, "--out", "set", "--workers", 0), ("workers must be between 1 and 256",)),
        ((*MASKS, "--out", "set", "--ignore", "dres"), ("'dres' is not a class", "did you mean 'dress'")),
        (MASKS, ("--out",)),
    ],
)
def test_refusals_write_nothing(run, failed, clothes, arguments, parts):
    failed(run(*arguments), *parts)
    assert not (clothes / "set").exists()


def test_help_is_short_and_long(run):
    code, short, _ = run("-h")
    assert code == 0
    assert "--annotations FILE" in short
    assert "Examples:" not in short
    assert "Examples:" in run("--help")[1]
