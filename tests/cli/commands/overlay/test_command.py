"""``mmgrad-explain overlay`` from the shell's side: files, lines, exit codes."""

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


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
    assert lines[3] == "  model   reference: the picture is like its training pictures"
    assert "% of the map lies in its brightest region: x " in lines[4]
    with Image.open(in_an_empty_folder / lines[0]) as picture:
        assert picture.width > 2 * picture.height * 0.9  # reference | map, of a 60x40 picture
    assert written(in_an_empty_folder) == [lines[0]]


def test_it_is_said_which_model_answers_and_why(run, tmp_path):
    (scene,) = scenes(24, 1)
    Image.fromarray(scene.reference).save(tmp_path / "scene.png")
    command = ("overlay", tmp_path / "scene.png", "make the dress red")
    said = "the picture is like its training pictures; it does not know 'dress'"
    assert f"  model   reference: {said}\n" in run(*command)[1]
    for more in ([], ["--phrases"]):
        (result,) = json.loads(run(*command, "--json", *more)[1])
        assert (result["model"], result["model_choice"]) == ("reference", said)
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


def test_json(run, picture_file):
    code, out, _ = run("overlay", picture_file, "make it red", "--json")
    (result,) = json.loads(out)
    assert code == 0
    assert result["image"] == str(picture_file)
    assert result["file"] == "query_make-it-red.png"
    assert result["grid"] == [24, 24]
    assert 0 < result["brightest_region"]["share"] <= 1
    left, top, right, bottom = result["brightest_region"]["box"]
    assert 0 <= left < right <= 60
    assert 0 <= top < bottom <= 40
    assert set(result["versions"]) >= {"mmgrad_explain", "torch"}


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
    assert [set(one) for one in result["phrases"]] == 2 * [{"phrase", "score", "brightest_region", "notes"}]
    (alone,) = json.loads(run("overlay", picture_file, "the large circle", "--model", tiny_folder, "--json")[1])
    assert result["phrases"][0]["score"] == pytest.approx(alone["score"], rel=1e-4)
    assert "note: " in run("overlay", picture_file, "abracadabra", "--model", tiny_folder, "--phrases")[2] + err
    for more in (["--target", picture_file], ["--words"], ["--format", "npz"]):
        failed(run(*command, *more), "--phrases draws pictures of one picture: it goes without --target, --words")


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


def test_in_words(run, picture_file):
    code, out, _ = run("overlay", picture_file, "make it red", "--in-words")
    assert code == 0
    figures, question, *_, limits = out.split("\n\n")
    assert figures.splitlines()[-1].startswith("  region  ")
    assert question.startswith(
        '  The model reference was given a picture and the text "make it red". The map is of the'
    )
    assert limits.startswith("  What the map does not say. ")
    lines = out.splitlines()[4:]
    assert all(line.startswith("  ") and len(line) <= 100 for line in lines if line)


def test_in_words_for_machines(run, picture_file):
    _, out, _ = run("overlay", picture_file, "make it red", "--json", "--in-words")
    said = json.loads(out)[0]["in_words"]
    assert said.startswith("The model reference was given a picture")
    assert said.count("\n\n") == 3
    _, plain, _ = run("overlay", picture_file, "make it red", "--json", "--overwrite")
    assert json.loads(plain)[0]["in_words"] is None


def test_phrases_in_words_are_of_the_sentence(run, picture_file):
    _, out, _ = run("overlay", picture_file, "make the red star blue", "--phrases", "--in-words")
    assert 'the text "make the red star blue". The map' in out
    assert out.index("  phrase  ") < out.index("  The model reference was given")


def test_a_map_of_nothing_is_said(run, picture_file):
    code, out, err = run("overlay", picture_file, "abracadabra")
    assert code == 0
    assert "region  none: the map is flat (no place of the picture counts more than another)" in out
    assert "does not know 'abracadabra'" in err


# ------------------------------------------------------------------------------------------------- bad input


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture
def bad_files(picture_file, tmp_path):
    whole = picture_file.read_bytes()
    files = {
        "empty.png": b"",
        "text.jpg": b"this is no picture",
        "cut.png": whole[: len(whole) // 2],
        "bomb.png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("quary.png", ["no such file", "query.png"]),
        (".", ["folder"]),
        ("empty.png", ["empty"]),
        ("text.jpg", ["not a picture"]),
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


def test_standard_input_without_an_end(run, failed, monkeypatch, in_an_empty_folder):
    from mmgrad_explain.images import reading as images

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert 0 < size < 2**24
            return bytes(size)

    monkeypatch.setattr(images, "MAX_PIXELS", 10**6)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Endless()})())
    failed(run("overlay", "-", "make it red"), "standard input gives more than 4 MB")
    assert written(in_an_empty_folder) == []


def test_a_hub_model_without_network(run, failed, picture_file, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    failed(
        run("overlay", picture_file, "make it red", "--model", "someone/model"), "hub cannot be reached", "local folder"
    )


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


def test_what_cannot_be_written_ends_the_job(run, failed, bad_files, in_an_empty_folder, monkeypatch):
    from mmgrad_explain.images import saving

    def full(*_, **__):
        raise InputError("cannot write: no space")

    monkeypatch.setattr(saving, "safe_save", full)
    failed(run("overlay", bad_files / "query.png", bad_files / "query.png", "make it red"), "cannot write: no space")


def test_standard_input_only_once(run, failed):
    failed(run("overlay", "-", "-", "make it red"), "only once")


def test_ctrl_c_is_quiet(run, picture_file, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmgrad_explain.api.explain", stop)
    code, out, err = run("overlay", picture_file, "make it red")
    assert (code, out, err) == (130, "", "mmgrad-explain: stopped\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--score", "shfit"),
            "--score: there is no 'shfit': did you mean 'shift'? choose from shift, similarity",
        ),
        (("--weighting", "gradcan"), "--weighting: there is no 'gradcan': did you mean 'gradcam'? choose from gradcam"),
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


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_picture_on_standard_output_stands_there_alone(run, picture_file, monkeypatch, more):
    monkeypatch.setattr("mmgrad_explain._system.files.is_standard_output", lambda file: file.name == "map.png")
    code, out, err = run("overlay", picture_file, "make it red", "--out", "map.png", *more)
    assert (code, out) == (0, "")
    assert "map.png" in err
