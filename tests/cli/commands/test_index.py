"""``mmgrad-explain index`` from the shell's side."""

import json
import sys

import pytest
from PIL import Image

from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError


@pytest.fixture
def run(gallery_command):
    return gallery_command


def test_index_says_which_model_the_pictures_chose(run, tmp_path, pictures):
    (tmp_path / "scenes").mkdir()
    for number, scene in enumerate(scenes(25, 3)):
        Image.fromarray(scene.reference).save(tmp_path / "scenes" / f"{number}.png")
    command = ("index", "scenes", "--gallery", "mine.db")
    why = "the pictures are like its training pictures, of 3 looked at"
    assert f"  model reference was chosen: {why}\n" in run(*command)[1]
    assert json.loads(run(*command, "--json")[1])["model"]["model_choice"] == why
    with pytest.raises(InputError, match=r"name one \(model=, or --model on the command line\): reference, clothing, "):
        run("index", "pictures", "--gallery", "other.db")
    with pytest.raises(InputError, match=r"knows none of the words that say what is meant \('sleeves'\)"):
        run("retrieve", "scenes/0.png", "with sleeves", "--gallery", "mine.db", "--no-sheet")


def test_index(run, pictures, tiny_folder, tmp_path):
    arguments = ("index", "pictures", "--gallery", "mine.db")
    code, out, err = run(*arguments, "--model", tiny_folder)
    assert (code, err) == (0, "")
    assert out == (
        f"{tmp_path}/mine.db: 5 files, by {tiny_folder.name} (8 numbers a picture)\n"
        "  5 added, 0 changed, 0 removed, 0 as they were\n"
    )
    (pictures / "notes.txt").touch()
    for i in range(7):
        (pictures / f"bad{i}.jpg").touch()
    code, out, _ = run(*arguments)  # the gallery's own model
    lines = out.splitlines()
    assert code == 1
    assert lines[1:4] == [
        "  0 added, 0 changed, 0 removed, 5 as they were",
        "  1 files are no pictures by their names",
        "  7 cannot be used:",
    ]
    assert lines[4] == f"    {pictures}/bad0.jpg: the image is empty (0 bytes)"
    assert lines[-1] == "    and 2 more; --json has all of them"
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert code == 1
    assert len(found["unreadable"]) == 7
    assert (found["unchanged"], found["total"], found["model"]["dim"]) == (5, 5, 8)
    assert (found["gallery"], found["collection"]) == (f"{tmp_path}/mine.db", "mmgrad_gallery")


def test_progress_on_a_terminal(run, pictures, tiny_folder, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    err = run("index", "pictures", "--gallery", "mine.db", "--model", tiny_folder, "--batch", 3)[2]
    assert "images" in err
    assert err.count("5/5") > 0


def test_wrong_input_of_index(run, pictures, tiny_folder):
    with pytest.raises(InputError, match="folder nothing is not there"):
        run("index", "nothing", "--gallery", "mine.db")
    with pytest.raises(InputError, match=r"gallery 'mine' must be a path that ends in \.db, or an address such as"):
        run("index", "pictures", "--gallery", "mine", "--model", tiny_folder)
    with pytest.raises(InputError, match="batch must be at least 1, got 0"):
        run("index", "pictures", "--gallery", "mine.db", "--model", tiny_folder, "--batch", 0)
