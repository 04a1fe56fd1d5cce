"""``mmgrad-explain calibrate`` from the shell's side."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain import Calibration, load_composer
from mmgrad_explain.data.scenes import generate_scene

NAMED = ("--methods", "gradcam,layercam", "--layer", "network.features")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number in range(8):
        scene = generate_scene(np.random.default_rng(number), size=48)
        paths.append(folder / f"{number}.png")
        Image.fromarray(scene.reference).save(paths[-1])
    return [str(path) for path in paths]


def test_it_writes_a_file_that_other_commands_take(run, tiny_folder, pictures, tmp_path):
    file = tmp_path / "c.json"
    code, out, err = run("calibrate", *pictures, "make it red", "--model", str(tiny_folder), *NAMED, "--out", str(file))
    assert code == 0
    assert err == ""
    assert "| layercam | network.features |" in out
    assert "*centre Gaussian*" in out
    assert out.rstrip().endswith(str(file))
    found = Calibration.load(file, load_composer(tiny_folder))
    assert found.samples == 8
    code, out, _ = run(
        "overlay", pictures[0], "make it red", "--model", str(tiny_folder), "--calibration", str(file),
        "--out", str(tmp_path / "map.png"), "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)[0]["method"] == found.method.name


def test_pairs_from_a_file_as_json(run, tiny_folder, pictures, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"image": path, "text": "make it blue"}) + "\n" for path in pictures))
    code, out, _ = run(
        "calibrate", str(pairs), "--model", str(tiny_folder), *NAMED, "--out", str(tmp_path / "c.json"), "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["samples"] == 8
    assert {row["method"] for row in found["rows"]} <= {"gradcam", "layercam"}
    assert found["file"] == str(tmp_path / "c.json")


def test_in_the_folder_of_the_model_it_is_found_by_itself(run, tiny_folder, pictures, tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    run("calibrate", *pictures, "make it red", "--model", str(folder), *NAMED, "-o", str(folder / "calibration.json"))
    composer = load_composer(folder)
    assert composer.calibration.samples == 8
    from mmgrad_explain import explain

    assert explain(pictures[0], "make it red", model=composer).method == composer.calibration.method.name
    assert explain(pictures[0], "make it red", model=composer, method="xgradcam").method == "xgradcam"
    data = json.loads((folder / "calibration.json").read_text())
    data["model"]["weights"] = "0"  # as after more training
    (folder / "calibration.json").write_text(json.dumps(data))
    code, _, said = run("overlay", pictures[0], "make it red", "--model", str(folder))
    assert (code, f"{folder / 'calibration.json'} is in the model's folder: delete it" in said) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png"], "after them, one TEXT"),
        (["a.png", " "], "the text is empty"),
        (["a.png", "x"], "give 8 to 64 pictures, not 1"),
        (["pairs.jsonl", "x"], "leave the other arguments out"),
        (["none.jsonl"], "no such file: none.jsonl"),
        (["a.png", "x", "--methods", "layercan"], "did you mean 'layercam'"),
        (["a.png", "x", "--score", "similarity"], "compares with a target"),
        (["a.png", "x", "--score", "shifd"], "did you mean 'shift'"),
    ],
)
def test_what_cannot_be_calibrated(run, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("calibrate", *arguments, "--model", "reference")
    assert code == 2
    assert out == ""
    assert said in err


def test_lines_that_are_no_pairs(run, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"image": "a.png"}\n')
    code, _, err = run("calibrate", str(tmp_path / "p.jsonl"), "--model", "reference")
    assert code == 2
    assert "line 1: each line is" in err


def test_a_calibration_names_layer_and_method_itself(run, pictures):
    code, _, err = run("overlay", pictures[0], "x", "--calibration", "c.json", "--layer", "network.features")
    assert code == 2
    assert "leave --layer and --method out" in err
