"""Images that cannot be used, and files that cannot be written."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation import Explanation
from mmgrad_explain.images import read_provenance


def test_a_hub_model_without_network(run, failed, picture_file, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    failed(
        run("overlay", picture_file, "make it red", "--model", "someone/model"), "hub cannot be reached", "local folder"
    )


def test_a_picture_that_cannot_be_used_stops_no_other(run, failed, bad_files, in_an_empty_folder):
    """The rest is drawn, the picture is named, and the exit code says so; a name of no file stops all."""
    good, bad = bad_files / "query.png", bad_files / "cut.png"
    code, out, err = run("overlay", good, bad, bad_files, good, "make it red", "--out", "maps", "--json")
    assert code == 1
    assert [result["image"] for result in json.loads(out)] == [str(good), str(good)]
    assert sorted(path.name for path in Path("maps").iterdir()) == ["query_make-it-red-2.png", "query_make-it-red.png"]
    assert [line.split(":")[0] for line in err.splitlines()] == [f"{name} is left out" for name in (bad, bad_files)]
    failed(run("overlay", bad, bad_files / "empty.png", "make it red"), "cut.png is truncated or damaged")
    failed(run("overlay", good, bad_files / "quary.png", "make it red"), "no such file")


def test_a_picture_that_the_model_does_not_take_stops_no_other(run, failed, bad_files, in_an_empty_folder, monkeypatch):
    from mmgrad_explain import api as explaining

    explain = explaining.explain

    def particular(images, *arguments, **options):
        if any(image.width == 3 for image in images):
            raise InputError("too narrow")
        return explain(images, *arguments, **options)

    monkeypatch.setattr(explaining, "explain", particular)
    Image.new("RGB", (3, 9)).save("narrow.png")
    good = bad_files / "query.png"
    code, out, err = run("overlay", good, "narrow.png", good, "make it red", "--out", "maps/", "--json")
    assert (code, len(json.loads(out)), err) == (1, 2, "narrow.png is left out: too narrow\n")


def test_images_go_one_by_one_where_the_model_keeps_their_shapes(run, in_an_empty_folder, picture, monkeypatch):
    """Together they would be no batch; images of one shape are."""
    from mmgrad_explain import api as explaining
    from mmgrad_explain.composers.model_capabilities import Capabilities

    explain, counts = explaining.explain, []
    monkeypatch.setattr(
        explaining,
        "explain",
        lambda images, *a, **options: counts.append(len(images)) or explain(images, *a, **options),
    )
    picture.save("a.png")
    picture.rotate(90, expand=True).save("b.png")
    for keeps, shapes in ((True, ["a.png", "b.png"]), (True, ["a.png", "a.png"]), (False, ["a.png", "b.png"])):
        monkeypatch.setattr(Capabilities, "keeps_shapes", keeps)
        assert run("overlay", *shapes, "make it red", "--out", "maps/", "--overwrite")[0] == 0
    assert counts == [1, 1, 2, 2]


def test_what_cannot_be_written_ends_the_job(run, failed, bad_files, in_an_empty_folder, monkeypatch):
    from mmgrad_explain.images import saving

    def full(*_, **__):
        raise InputError("cannot write: no space")

    monkeypatch.setattr(saving, "safe_save", full)
    failed(run("overlay", bad_files / "query.png", bad_files / "query.png", "make it red"), "cannot write: no space")


def test_ctrl_c_is_quiet(run, picture_file, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmgrad_explain.api.explain", stop)
    code, out, err = run("overlay", picture_file, "make it red")
    assert (code, out, err) == (130, "", "mmgrad-explain: stopped\n")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_picture_on_standard_output_stands_there_alone(run, picture_file, monkeypatch, more):
    monkeypatch.setattr("mmgrad_explain._system.files.is_standard_output", lambda file: file.name == "map.png")
    code, out, err = run("overlay", picture_file, "make it red", "--out", "map.png", *more)
    assert (code, out) == (0, "")
    assert "map.png" in err


def test_a_checked_map_says_how_far_it_can_be_trusted(run, picture_file, tiny_folder, in_an_empty_folder):
    asked = ("overlay", picture_file, "make it red", "--model", tiny_folder, "--check")
    code, out, _ = run(*asked, "--json", "--out", "map.png")
    (record,) = json.loads(out)
    assert code == 0
    assert record["check"]["verdict"] in {"good", "doubtful", "fails"}
    assert record["check"]["in_words"].startswith("The map ")
    (part,) = read_provenance("map.png")["maps"]
    assert part["check"]["occlusion"] == record["check"]["occlusion"]
    assert str(tiny_folder.parent) not in json.dumps(read_provenance("map.png"))
    assert "  check   The map " in run(*asked, "--out", "other.png")[1]


def test_a_map_that_cannot_be_checked_is_drawn_and_a_note_says_why(
    run, picture_file, tiny_folder, in_an_empty_folder, monkeypatch
):
    def refuse(*_args, **_options):
        raise InputError("no image to hide")

    monkeypatch.setattr(Explanation, "check", refuse)
    code, out, _ = run("overlay", picture_file, "make it red", "--model", tiny_folder, "--check", "--json")
    (record,) = json.loads(out)
    assert (code, record["check"]) == (0, None)
    assert "not checked: no image to hide" in record["notes"]
    assert Path(record["file"]).exists()
