"""``mmgrad-explain index`` and ``mmgrad-explain retrieve`` from the shell's side."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.cli.commands import index, retrieve
from mmgrad_explain.cli.main import HelpfulParser
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError, OutputExistsError


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        parser = HelpfulParser(prog="mmgrad-explain")
        commands = parser.add_subparsers()
        index.add_parser(commands)
        retrieve.add_parser(commands)
        options = parser.parse_args([str(argument) for argument in arguments])
        code = options.run(options)
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 20, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def pictures(tmp_path):
    for i in range(5):
        save(tmp_path / "pictures" / f"{i}.png", i)
    return tmp_path / "pictures"


@pytest.fixture
def made(run, pictures, tiny_folder):
    run("index", "pictures", "--gallery", "mine.db", "--model", tiny_folder)


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
    assert "pictures" in err
    assert err.count("5/5") > 0


def test_wrong_input_of_index(run, pictures, tiny_folder):
    with pytest.raises(InputError, match="folder nothing is not there"):
        run("index", "nothing", "--gallery", "mine.db")
    with pytest.raises(InputError, match=r"gallery 'mine' must be a path that ends in \.db, or an address such as"):
        run("index", "pictures", "--gallery", "mine", "--model", tiny_folder)
    with pytest.raises(InputError, match="batch must be at least 1, got 0"):
        run("index", "pictures", "--gallery", "mine.db", "--model", tiny_folder, "--batch", 0)


def test_retrieve(run, made, pictures, tmp_path, tiny_folder):
    shutil.copy(pictures / "1.png", pictures / "same.png")
    run("index", "pictures", "--gallery", "mine.db")
    (pictures / "4.png").unlink()
    code, out, err = run("retrieve", "pictures/0.png", "make red frumious", "--gallery", "mine.db", "-k", 3)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == f"pictures/0.png, 'make red frumious', in {tmp_path}/mine.db by {tiny_folder.name}"
    hits = [line for line in lines if line[:4].strip().isdigit()]
    assert [int(line.split()[0]) for line in hits] == [1, 2, 3]
    scores = [float(line.split()[1]) for line in hits]
    assert scores == sorted(scores, reverse=True)
    assert any("frumious" in line for line in lines if line.startswith("note: "))
    assert lines[-1] == "sheet: 0_make-red-frumious.png"
    assert Image.open("0_make-red-frumious.png").height > 400
    assert run("retrieve", "pictures/0.png", "make red frumious", "--gallery", "mine.db")[1].splitlines()[-1] == (
        "sheet: 0_make-red-frumious-2.png"
    )
    out = run("retrieve", "pictures/0.png", "red 名", "--gallery", "mine.db", "--no-sheet")[1]
    assert f"               the same: {pictures}/same.png" in out
    assert f"{pictures}/4.png (gone)" in out
    assert "note: the gallery has no more than 4 pictures to list" in out
    assert "sheet:" not in out
    assert retrieve._plan_sheet(run_options(out=None, overwrite=True), "x/0.png", "名").path.name == "0_hits.png"


def run_options(**values):
    import argparse

    return argparse.Namespace(**values)


def test_json_and_a_named_sheet(run, made, tmp_path):
    arguments = ("retrieve", "pictures/0.png", "make it red", "--gallery", "mine.db", "--out", "new/hits.jpg")
    code, out, _ = run(*arguments, "--json", "--layer", "network.features", "--keep-reference", "-k", 5)
    found = json.loads(out)
    assert code == 0
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert {hit["state"] for hit in found["hits"]} == {"there"}
    assert all(hit["brightest_region"] is None or len(hit["brightest_region"]["box"]) == 4 for hit in found["hits"])
    assert (found["sheet"], found["session"], found["reference"]) == ("new/hits.jpg", None, "pictures/0.png")
    assert found["text"] == "make it red"
    with pytest.raises(OutputExistsError, match="is there already"):
        run(*arguments)
    assert run(*arguments, "--overwrite")[0] == 0


def test_a_session_goes_on(run, made, pictures, tmp_path):
    first = json.loads(
        run("retrieve", "pictures/0.png", "make it red", "--gallery", "mine.db", "--session", "s.json", "--no-sheet",
            "--json")[1]
    )  # fmt: skip
    third = first["hits"][2]["path"]
    code, out, _ = run("retrieve", "--reference-hit", 3, "and red with stripes", "--session", "s.json", "--no-sheet")
    assert code == 0
    assert out.startswith(f"{third}, 'and red with stripes', in {tmp_path}/mine.db")
    assert out.splitlines()[-1] == "session: s.json"
    kept = json.loads((tmp_path / "s.json").read_text())
    assert [turn["text"] for turn in kept["turns"]] == ["make it red", "and red with stripes"]
    assert [turn["from_hit"] for turn in kept["turns"]] == [None, 3]
    assert kept["turns"][0]["reference"] == str(pictures / "0.png")
    assert kept["turns"][1]["reference"] == third
    assert third not in [hit["path"] for hit in kept["turns"][1]["hits"]]
    alone = json.loads(
        run("retrieve", third, "and red with stripes", "--gallery", "mine.db", "--no-sheet", "--json")[1]
    )
    assert [hit["path"] for hit in alone["hits"]] == [hit["path"] for hit in kept["turns"][1]["hits"]]
    run(
        "retrieve", "pictures/1.png", "now this one red", "--session", "s.json", "--no-sheet"
    )  # begins anew in the same search
    kept = json.loads((tmp_path / "s.json").read_text())
    assert [turn["from_hit"] for turn in kept["turns"]] == [None, 3, None]


def test_a_session_that_does_not_fit(run, made, pictures, tmp_path, tiny_folder):
    begin = ("retrieve", "pictures/0.png", "make it red", "--no-sheet", "--session", "s.json")
    run(*begin, "--gallery", "mine.db", "-k", 2)
    go_on = ("retrieve", "--reference-hit", 1, "and blue", "--no-sheet", "--session", "s.json")
    with pytest.raises(InputError, match="there is no hit 3: the last turn found 2"):
        run("retrieve", "--reference-hit", 3, "and blue", "--session", "s.json")
    run("index", "pictures", "--gallery", "other.db", "--model", tiny_folder)
    with pytest.raises(InputError, match=r"the session is of gallery .*mine\.db, mmgrad_gallery, by model .* not of"):
        run(*go_on, "--gallery", "other.db")
    before = (tmp_path / "s.json").read_text()
    hit = json.loads(before)["turns"][0]["hits"][0]["path"]
    save(tmp_path / "pictures" / hit.rpartition("/")[2], 77)
    with pytest.raises(InputError, match=r"hit 1, .*, has changed since it was found: index again, and retrieve again"):
        run(*go_on)
    (tmp_path / hit).unlink()
    with pytest.raises(InputError, match="no such file"):
        run(*go_on)
    assert (tmp_path / "s.json").read_text() == before


def test_wrong_input_of_retrieve(run, made, tmp_path):
    with pytest.raises(InputError, match="give a picture and a text; got 1 arguments: put quotes around the text"):
        run("retrieve", "pictures/0.png", "--gallery", "mine.db")
    with pytest.raises(InputError, match="give the text alone, with --reference-hit; got 2 arguments"):
        run("retrieve", "pictures/0.png", "make it red", "--reference-hit", 1, "--session", "s.json")
    with pytest.raises(InputError, match="--reference-hit needs --session FILE"):
        run("retrieve", "make it red", "--reference-hit", 1, "--gallery", "mine.db")
    with pytest.raises(InputError, match=r"there is no session s\.json: begin one with a picture"):
        run("retrieve", "make it red", "--reference-hit", 1, "--session", "s.json")
    with pytest.raises(InputError, match="--gallery is missing"):
        run("retrieve", "pictures/0.png", "make it red")
    with pytest.raises(InputError, match=r"there is no gallery at .*nothing\.db"):
        run("retrieve", "pictures/0.png", "make it red", "--gallery", "nothing.db")
    with pytest.raises(InputError, match="k must be from 1 to 16384, got 0"):
        run("retrieve", "pictures/0.png", "make it red", "--gallery", "mine.db", "-k", 0)


@pytest.mark.parametrize("command", ["index", "retrieve"])
def test_help(run, capsys, command):
    with pytest.raises(SystemExit):
        run(command, "--help")
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert "Exit codes: 0 done" in out


def test_no_password_is_printed_or_kept(run, pictures, tiny_folder, tmp_path):
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    server, db, port = start_server_in_thread(str(tmp_path / "served.db"))
    try:
        place = ("--gallery", f"http://me:hunter2@127.0.0.1:{port}")
        said = [run("index", "pictures", *place, "--model", tiny_folder, *more) for more in ((), ("--json",))]
        for more in ((), ("--json",), ("--session", "s.json")):
            said.append(run("retrieve", "pictures/0.png", "red", *place, "--no-sheet", *more))
        on = ("retrieve", "red", "--reference-hit", "1", "--session", "s.json", "--no-sheet")
        said.append(run(*on, *place))
        with pytest.raises(InputError, match=r"keeps no password: .* --gallery http://\*\*\*@127"):
            run(*on)
    finally:
        server.stop(grace=1)
        db.close()
    assert [code for code, _, _ in said] == [0] * len(said)
    assert all("http://***@127.0.0.1" in out for _, out, _ in said)
    assert "hunter2" not in f"{said}{(tmp_path / 's.json').read_text()}"
