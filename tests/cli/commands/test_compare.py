"""``mmgrad-explain compare`` from the shell's side."""

import json

import pytest
from PIL import Image


@pytest.fixture
def compare(run, picture_file, tiny_folder):
    def call(*options):
        return run("compare", picture_file, "make it red", "--model", tiny_folder, "--no-check", *options)

    return call


def test_a_picture_and_a_table(compare, tmp_path):
    out = tmp_path / "new.png"
    code, printed, _ = compare("--methods", "gradcam, layercam", "--out", out, "--columns", 2)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == "maps of 'make it red'"
    assert lines[3].startswith("| gradcam |")
    assert lines[-1] == f"written: {out}"
    assert Image.open(out).width > 500
    code, _, said = compare("--methods", "gradcam", "--out", out)
    assert (code, "is there already" in said) == (2, True)


def test_json_and_a_name_that_is_free(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, _ = compare("--methods", "gradcam", "--layers", "network.neck,network.features", "--json")
    record = json.loads(printed)
    assert code == 0
    assert record["file"] == "query_make-it-red_compared.png"
    assert [one["method"] for one in record["maps"]] == ["gradcam at network.neck", "gradcam at network.features"]
    assert json.loads(compare("--methods", "gradcam", "--json")[1])["file"] == "query_make-it-red_compared-2.png"


def test_what_refuses_the_model_is_named_and_the_exit_code_says_so(compare, tmp_path):
    layers = "network.neck,network.nothing"
    code, printed, _ = compare("--methods", "gradcam", "--layers", layers, "--out", tmp_path / "a.png")
    assert code == 1
    assert "| gradcam at network.nothing | – | – | – | no map: " in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "gradcamm"), "did you mean 'gradcam'?"),
        (("--methods", ","), "--methods names none"),
        (("--methods", "gradcam", "--of-target"), "--of-target needs a target"),
        (("--methods", "gradcam", "--score", "similarity"), "--score similarity needs a target"),
        (("--methods", "gradcam", "--columns", "0"), "--columns must be at least 1"),
        (("--methods", "gradcam", "--out", "a.gif"), "must end in .png, .jpg or .webp"),
        ((), "the following arguments are required: --methods"),
    ],
)
def test_wrong_options(compare, options, message):
    code, _, said = compare(*options)
    assert code == 2
    assert message in said
