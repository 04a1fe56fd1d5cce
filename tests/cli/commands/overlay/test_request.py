"""What an ``overlay`` command refuses before a model is loaded."""

import io
import sys

import pytest
from PIL import Image


def written(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("quary.png", ["no such file", "query.png"]),
        (".", ["folder"]),
        ("empty.png", ["empty"]),
        ("text.jpg", ["not an image"]),
        ("cut.png", ["truncated or damaged"]),
        ("bomb.png", ["60000", "pixels"]),
    ],
)
def test_bad_pictures(run, failed, bad_files, in_an_empty_folder, name, parts):
    failed(run("overlay", bad_files / name, "make it red"), *parts)
    failed(run("overlay", bad_files / "query.png", "make it red", "--target", bad_files / name), *parts)
    assert written(in_an_empty_folder) == []


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--model", "referense"], ["did you mean 'reference'"]),
        (["--model", "."], ["not a model folder", "config.json"]),
        (["--layer", "network.feature"], ["network.features"]),
        (["--score", "shft"], ["shift"]),
        (["--score", "similarity"], ["target"]),
        (["--weighting", "gradcan"], ["gradcam"]),
        (["--colormap", "turbos"], ["turbo"]),
        (["--alpha", "1.5"], ["--alpha must be between 0 and 1"]),
        (["--threshold", "1"], ["--threshold must be at least 0 and below 1, got 1.0"]),
        (["--device", "cuda:99"], ["cuda:99", "use cpu"]),
        (["--device", "toaster"], ["toaster", "use cpu"]),
        (["--out", "map.bmp"], ["must end in .png, .jpg or .npz"]),
        (["--out", "map.png", "--format", "jpg"], ["disagree"]),
        (["--format", "gif"], ["invalid choice: 'gif'"]),
        (["--target", "-"], ["standard input is empty"]),
        (["--nonsense"], ["unrecognized arguments: --nonsense"]),
    ],
)
def test_bad_options(run, failed, picture_file, in_an_empty_folder, monkeypatch, options, parts):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    failed(run("overlay", picture_file, "make it red", *options), *parts)
    assert written(in_an_empty_folder) == []


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text(run, failed, picture_file, text):
    failed(run("overlay", picture_file, text), "the text is empty", "make it red")


def test_a_missing_text(run, failed, picture_file):
    failed(run("overlay", picture_file), "required: TEXT")


def test_outputs_that_cannot_be_written(run, failed, picture_file, in_an_empty_folder):
    (in_an_empty_folder / "file").write_text("mine")
    failed(run("overlay", picture_file, "make it red", "--out", "file/map.png"), "is not a folder")
    (in_an_empty_folder / "map.png").write_text("mine")
    failed(run("overlay", picture_file, "make it red", "--out", "map.png"), "is there already")
    assert (in_an_empty_folder / "map.png").read_text() == "mine"
    assert run("overlay", picture_file, "make it red", "--out", "map.png", "--overwrite")[0] == 0
    Image.open(in_an_empty_folder / "map.png").close()


def test_standard_input_only_once(run, failed):
    failed(run("overlay", "-", "-", "make it red"), "only once")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--score", "shfit"),
            "--score: there is no 'shfit': did you mean 'shift'? choose from shift, similarity",
        ),
        (("--weighting", "gradcan"), "--method: there is no 'gradcan': did you mean 'gradcam'? choose from gradcam"),
        (("--score", "pair"), "--score pair compares with a target: add --target IMAGE, or leave --score out"),
        (("--score", "match"), "score 'match': this model gives no match logit: leave --score out"),
        (
            ("--layer", "network.feature"),
            "did you mean 'network.features' or 'network.text' or 'network.shift.hear'? (mm",
        ),
    ],
)
def test_names_that_do_not_fit(run, failed, picture_file, options, message):
    failed(run("overlay", picture_file, "make it red", *options), message)


def test_a_text_without_quotes(run, failed, picture_file):
    failed(run("overlay", picture_file, "make", "it", "red"), "no such file: make: put quotes around a text of several")
    failed(run("overlay", picture_file, "quary.png", "red"), "no such file: quary.png")


def test_what_is_there_already_is_replaced_if_asked_for(run, failed, picture_file):
    arguments = ("overlay", picture_file, "make it red", "--out", "map.png")
    assert run(*arguments)[0] == 0
    failed(run(*arguments), "map.png is there already: choose another name or add --overwrite")
    assert run(*arguments, "--overwrite")[0] == 0
