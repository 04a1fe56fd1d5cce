"""``mmgrad-explain overlay`` from the shell's side: files, lines, exit codes."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.scenes.scene import scenes


def written(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_main_job(run, picture_file, in_an_empty_folder):
    code, out, err = run("overlay", picture_file, "make it red")
    assert code == 0
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "query_make-it-red.png"
    assert "score   shift = " in lines[1]
    assert "gradcam at network.features, 24x24 cells, model reference" in lines[2]
    assert lines[3] == "  model   reference answers, because the image is like its training images"
    assert "% of the map lies in its brightest region: x " in lines[4]
    with Image.open(in_an_empty_folder / lines[0]) as picture:
        assert picture.width > 2 * picture.height * 0.9  # reference | map, of a 60x40 picture
    assert written(in_an_empty_folder) == [lines[0]]


def test_it_is_said_which_model_answers_and_why(run, tmp_path):
    (scene,) = scenes(24, 1)
    Image.fromarray(scene.reference).save(tmp_path / "scene.png")
    command = ("overlay", tmp_path / "scene.png", "make the dress red")
    said = "it alone knows 'dress'; but the image is unlike its training images"
    code, out, err = run(*command)
    assert code == 0
    assert f"  model   clothing answers, because {said}\n" in out
    assert "the image is unlike what the model was trained on" in err
    for more in ([], ["--phrases"]):
        (result,) = json.loads(run(*command, "--json", *more)[1])
        assert (result["model"], result["model_choice"]) == ("clothing", said)
    (result,) = json.loads(run(*command, "--json", "--model", "clothing")[1])
    assert (result["model"], result["model_choice"]) == ("clothing", None)


def test_a_second_run_keeps_the_first_picture(run, picture_file, in_an_empty_folder):
    for _ in range(2):
        assert run("overlay", picture_file, "make it red")[0] == 0
    assert written(in_an_empty_folder) == ["query_make-it-red-2.png", "query_make-it-red.png"]


def test_a_target_makes_the_picture_wider(run, picture_file):
    run("overlay", picture_file, "make it red", "--out", "one.png")
    assert run("overlay", picture_file, "make it red", "--target", picture_file, "--out", "two.png")[0] == 0
    with Image.open("one.png") as one, Image.open("two.png") as two:
        assert two.width > 1.8 * one.width


@pytest.mark.parametrize("score", ["similarity", "pair", "pair-different", "shift"])
@pytest.mark.parametrize("weighting", ["gradcam", "hirescam"])
def test_scores_and_weightings(run, picture_file, score, weighting):
    code, out, _ = run(
        "overlay", picture_file, "make it red", "--target", picture_file, "--score", score, "--weighting", weighting
    )
    assert code == 0
    assert f"score   {score} = " in out
    assert f"{weighting} at" in out


def test_arrays(run, picture_file):
    assert run("overlay", picture_file, "make it red", "--target", picture_file, "--format", "npz")[0] == 0
    with np.load("query_make-it-red.npz") as arrays:
        assert arrays["heatmap"].shape == (40, 60)
        assert arrays["map"].shape == (24, 24)
        assert arrays["target_heatmap"].shape == (40, 60)
        assert arrays["heatmap"].dtype == np.float32
        assert arrays["score"].shape == ()


def test_jpg_by_suffix_and_by_format(run, picture_file):
    assert run("overlay", picture_file, "make it red", "--out", "a.jpeg")[0] == 0
    assert run("overlay", picture_file, "make it red", "--format", "jpg", "--out", "b")[0] == 0
    for name in ("a.jpeg", "b"):
        with Image.open(name) as picture:
            assert picture.format == "JPEG"


def test_several_pictures_into_a_folder(run, picture, tmp_path, in_an_empty_folder):
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    (tmp_path / "other").mkdir()
    picture.save(tmp_path / "other" / "a.png")
    code, out, _ = run(
        "overlay", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "other" / "a.png", "remove it", "--out", "maps/"
    )
    assert code == 0
    assert written(in_an_empty_folder) == ["a_remove-it-2.png", "a_remove-it.png", "b_remove-it.png"]
    assert out.count("score   shift") == 3


def test_standard_input(run, picture, monkeypatch):
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    code, out, _ = run("overlay", "-", "make it red")
    assert code == 0
    assert out.startswith("stdin_make-it-red.png")


def test_options_change_the_picture(run, picture_file, in_an_empty_folder):
    seen = set()
    for number, options in enumerate(
        ([], ["--alpha", "0.1"], ["--colormap", "magma"], ["--contour"], ["--layer", "network.visual.layer3"])
    ):
        assert run("overlay", picture_file, "make it red", "--out", f"{number}.png", *options)[0] == 0
        seen.add((in_an_empty_folder / f"{number}.png").read_bytes())
    assert len(seen) == 5


def test_a_model_folder(run, picture_file, tiny_folder):
    code, out, _ = run("overlay", picture_file, "make it red", "--model", tiny_folder)
    assert code == 0
    assert "8x8 cells" in out


def test_words(run, picture_file, tiny_folder):
    one = ["overlay", picture_file, "make it red", "--model", tiny_folder]
    assert run(*one, "--out", "plain.png")[0] == 0
    code, out, _ = run(*one, "--words", "--out", "words.png")
    assert code == 0
    line = out.splitlines()[-1].split()
    assert line[:1] + line[1::2] == ["words", "make", "it", "red"]
    assert max(abs(float(value)) for value in line[2::2]) == 1
    with Image.open("plain.png") as plain, Image.open("words.png") as words:
        assert words.height > plain.height
    (result,) = json.loads(run(*one, "--words", "--json")[1])
    assert [set(word) for word in result["words"]] == 3 * [{"word", "value", "scaled", "tokens"}]
    (result,) = json.loads(run(*one, "--json")[1])
    assert result["words"] is None
    assert result["words_by"] is None
    for way in ("gradient", "leave-one-out"):
        (result,) = json.loads(run(*one, "--words-by", way, "--json")[1])
        assert result["words_by"] == way
        assert len(result["words"]) == 3
    _, out, _ = run("overlay", picture_file, "abracadabra", "--model", tiny_folder, "--words")
    assert "words   none: the model read none of them" in out


def test_phrases(run, failed, picture_file, tiny_folder, in_an_empty_folder):
    text = "make the large circle left of the square red"
    command = ["overlay", picture_file, text, "--model", tiny_folder, "--phrases"]
    code, out, err = run(*command, "--out", "phrases.png", "--contour")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("  phrase")] == [
        "  phrase  the large circle", "  phrase  left of the square red",
    ]  # fmt: skip
    with Image.open("phrases.png") as drawn, Image.open(picture_file) as picture:
        assert drawn.width > 4 * picture.width
    (result,) = json.loads(run(*command, "--json")[1])
    assert result["text"] == text
    assert [set(one) for one in result["phrases"]] == 2 * [{"phrase", "score", "brightest_region", "check", "notes"}]
    (alone,) = json.loads(run("overlay", picture_file, "the large circle", "--model", tiny_folder, "--json")[1])
    assert result["phrases"][0]["score"] == pytest.approx(alone["score"], rel=1e-4)
    assert "note: " in run("overlay", picture_file, "abracadabra", "--model", tiny_folder, "--phrases")[2] + err
    for more in (["--target", picture_file], ["--words"], ["--format", "npz"]):
        failed(run(*command, *more), "--phrases draws several maps of one picture: leave out --target, --words")


def test_long_and_unknown_words_are_noted(run, picture_file):
    code, _, err = run("overlay", picture_file, "make the zeppelin " + "red " * 30)
    assert code == 0
    assert "note: 'make the zeppelin red red" in err
    assert "the model takes 24: the rest was cut" in err


@pytest.mark.parametrize("kind", [[], ["--phrases"]])
def test_threshold(run, picture_file, kind):
    """The same layout, with colours over less of the picture."""
    drawn = []
    for threshold in ("0", "0.9"):
        file = f"{threshold}.png"
        run("overlay", picture_file, "make the red star blue", "--threshold", threshold, "--out", file, *kind)
        with Image.open(file) as picture:
            drawn.append(np.asarray(picture).astype(int))
    whole, cut = drawn
    assert cut.shape == whole.shape
    width = whole.shape[1] // (4 if kind else 2)  # the picture stands first, without a map
    assert np.array_equal(whole[:, :width], cut[:, :width])
    assert (cut != whole).any(-1)[:, width:].mean() > 0.05
