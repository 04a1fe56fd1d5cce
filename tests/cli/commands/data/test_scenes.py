"""``mmgrad-explain data scenes`` from the shell's side: files, lines, exit codes."""

import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.cli.main import build_parser, main
from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.scenes.set_options import IMAGE_FORMATS, SceneSetOptions
from mmgrad_explain.data.triplets import read_triplets


@pytest.fixture
def run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return partial(run, "data", "scenes", "--out", "set", "--size", "32", "--workers", "1")


def test_the_main_job(run, tmp_path):
    code, out, err = run("--count", 10, "--sheet", 4)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "set"
    assert lines[1] == "  triplets  10 of 3 scenes"
    assert lines[2].startswith("  edits     ")
    assert lines[3].startswith("  made      10 in ")
    assert re.search(r", \d+ triplets/s \(a CPU second makes \d+, drawing alone \d+\)$", lines[3])
    assert lines[4] == "  sheet     set/contact_sheet.png"
    assert len(lines) == 5
    assert len(read_triplets(tmp_path / "set")) == 10
    assert Image.open(tmp_path / "set" / "contact_sheet.png").size[0] > 96


def test_json_and_no_sheet(run, tmp_path):
    code, out, _ = run("--count", 5, "--sheet", 0, "--json", "--format", "jpg", "--seed", 7, "--edits", 2)
    result = json.loads(out)
    assert code == 0
    assert result["folder"] == "set"
    assert (result["triplets"], result["made"], result["scenes"], result["sheet"]) == (5, 5, 3, None)
    assert 0 < result["triplets_per_second"] < result["drawn_per_second"]
    assert 0 < result["triplets_per_cpu_second"] < result["drawn_per_second"]
    assert result["cpu_seconds"] == pytest.approx(5 / result["triplets_per_cpu_second"], abs=1e-3)
    assert sum(result["edits"].values()) == sum(result["named by"].values()) == 5
    assert not (tmp_path / "set" / "contact_sheet.png").exists()
    assert {p.suffix for p in (tmp_path / "set" / "references").iterdir()} == {".jpg"}


def test_variants(run, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((40, 50, 3), 120, np.uint8)).save(tmp_path / "photos" / "grey.png")
    (tmp_path / "photos" / "readme.txt").write_text("not a picture")
    more = ("--pairs", "held-out", "--templates", "held-out", "--objects", 7, "--backdrops", "photos")
    more += ("--relations", 0.5, "--places", 0, "--format", "npy")
    assert run("--count", 4, "--sheet", 2, *more)[0] == 0
    options = json.loads((tmp_path / "set" / "manifest.json").read_text())["options"]
    assert options["objects"] == [7, 7]
    assert options["pairs"] == options["templates"] == "held-out"
    assert options["backdrops"] == ["photos/grey.png"]
    assert (options["relations"], options["places"], options["format"]) == (0.5, 0, "npy")
    assert [path.name for path in (tmp_path / "set" / "masks").iterdir()] == ["0000000.npy"]


def test_again_and_on(run):
    assert run("--count", 4)[0] == 0
    code, out, err = run("--count", 4)
    assert (code, out) == (2, "")
    assert "set is not empty: --resume goes on with it, --overwrite replaces it" in err
    assert "  triplets  8 of 2 scenes" in run("--count", 8, "--resume")[1]
    assert "  triplets  2 of 1 scenes" in run("--count", 2, "--overwrite")[1]


def test_stopping_says_how_to_go_on(run, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scene_sets, "write_scenes", stop)
    code, out, err = run("--count", 4)
    assert (code, out) == (130, "")
    assert err.startswith("mmgrad-explain: stopped: go on with: mmgrad-explain data scenes ")
    assert err.endswith(" --count 4 --resume\n")
    monkeypatch.undo()


def test_one_worker_a_core(run, monkeypatch):
    seen = []
    monkeypatch.setattr(scene_sets, "build_scenes", lambda *_, workers, **__: seen.append(workers) or 1 / 0)
    for has in (True, False):
        if not has:
            monkeypatch.delattr("os.sched_getaffinity", raising=False)
        assert main(["data", "scenes", "--out", "set"]) == 1
    assert all(count >= 1 for count in seen)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "--overwrite"), "--overwrite and --resume exclude each other"),
        (("--sheet", -1), "--sheet must not be negative, got -1"),
        (("--objects", "many"), "--objects must look like 1-6 or 8, got 'many'"),
        (("--objects", "3-20"), "objects must be two numbers between 1 and 12"),
        (("--relations", 0.8, "--places", 0.4), "relations and places are shares of the descriptions and at most 1"),
        (("--places", -0.1), "relations and places are shares of the descriptions and at most 1"),
        (("--relations", "often"), "argument --relations: invalid float value: 'often'"),
        (("--backdrops", "nowhere"), "--backdrops nowhere is not a folder"),
        (("--backdrops", "."), "--backdrops . holds no images (.jpg, .png, .jpeg, .webp, .bmp, "),
        (("--count", 0), "count must be at least 1, got 0"),
        (("--size", 20), "size must be between 32 and 512 pixels, got 20"),
        (("--pairs", "odd"), "argument --pairs: invalid choice: 'odd'"),
    ],
)
def test_what_can_be_put_right(run, tmp_path, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_help_explains(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "--pairs held-out" in out
    assert "mmgrad-explain data scenes --out scenes --count 4000 --workers 2" in out


def test_the_defaults_are_those_of_a_set():
    """Written out in the parser, so that no command waits for NumPy to say what it can do."""
    chosen = build_parser().parse_args(["data", "scenes", "--out", "x"])
    default = SceneSetOptions()
    for name in ("size", "seed", "edits", "pairs", "templates", "relations", "places", "format"):
        assert getattr(chosen, name) == getattr(default, name)
    for kind in IMAGE_FORMATS:
        assert build_parser().parse_args(["data", "scenes", "--out", "x", "--format", kind]).format == kind


def test_the_parser_does_not_import_numpy():
    code = "import sys; from mmgrad_explain.cli.main import build_parser; build_parser(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
