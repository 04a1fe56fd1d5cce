"""``mmgrad-explain evaluate --maps`` from the shell's side."""

import json

import pytest


@pytest.fixture
def coco(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    data = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 8, 14, 12]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 30, 10, 10]},
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 30, 10, 10]},
        ],
        "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "star"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(data))
    return tmp_path / "instances.json"


def test_a_table_and_a_report(run, coco, tiny_folder, tmp_path):
    report = tmp_path / "figures"
    options = ("--methods", "gradcam,layercam", "--report", report, "--out", tmp_path / "all.json")
    code, printed, _ = run("evaluate", "--maps", coco, "--model", tiny_folder, *options)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == f"{tiny_folder} on coco in {coco}"
    assert lines[1] == "class names, instances.json: 2 samples about 1 images"
    assert lines[3] == "| map | pointing | energy | IoU | AUC | contrast | dead maps |"
    assert "odd: 1 x annotation of an unknown image: 3" in lines
    assert f"written: {report / 'report.html'}" in lines
    assert len(json.loads((tmp_path / "all.json").read_text())["samples"]) == 4
    code, _, said = run("evaluate", "--maps", coco, "--model", tiny_folder, "--report", report)
    assert (code, "is there already" in said) == (2, True)


def test_json_of_chosen_samples(run, coco, tiny_folder):
    chosen = ("--kind", "star", "--phrase", "STAR", "--template", "remove the {}", "--json")
    code, printed, _ = run("evaluate", "--maps", f"coco:{coco}", "--model", tiny_folder, *chosen)
    record = json.loads(printed)
    assert code == 0
    assert record["data"]["samples"] == 1
    assert next(iter(record["figures"])) == "default"
    assert record["figures"]["default"]["pointing"]["known"] == 1


def test_what_had_to_be_left_out_sets_the_exit_code(run, coco, tiny_folder, tmp_path):
    data = json.loads(coco.read_text())
    (tmp_path / "b.png").write_bytes(b"damaged")
    data["images"].append({"id": 7, "file_name": "b.png"})
    coco.write_text(json.dumps(data))
    code, printed, _ = run("evaluate", "--maps", coco, "--model", tiny_folder)
    assert code == 1
    assert "note: 1 samples are left out; the first, 7/star: " in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "gradcamm"), "did you mean 'gradcam'?"),
        (("--score", "similarity"), "compares with a target, which a phrase has not"),
        (("--batch", "0"), "--batch must be at least 1"),
        (("--pictures", "-1"), "--pictures must be at least 0"),
        (("--soft",), "--soft belongs to --data: leave it out"),
        (("--kind", "cat"), "there is no 'cat'"),
        (("--template", "a"), "must have {} once"),
        (("--split", "val"), "a COCO file is one split"),
    ],
)
def test_wrong_options(run, coco, tiny_folder, options, message):
    code, _, said = run("evaluate", "--maps", coco, "--model", tiny_folder, *options)
    assert code == 2
    assert message in said


def test_wrong_sets(run, tmp_path):
    for name, message in (
        ("refcoc:nothing", "did you mean 'refcoco'?"),
        (tmp_path, "is none of the formats that are known"),
        ("flickr30k:nothing", "nothing is not a folder"),
    ):
        code, _, said = run("evaluate", "--maps", name)
        assert code == 2
        assert message in said


def test_options_of_maps_belong_to_maps(run, tmp_path):
    code, _, said = run("evaluate", "--data", f"jsonl:{tmp_path}", "--methods", "gradcam")
    assert code == 2
    assert "--methods belongs to --maps: leave it out" in said
