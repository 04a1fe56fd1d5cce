"""``mmgrad-explain retrieve`` from the shell's side."""

import argparse
import json
import shutil

import pytest
from PIL import Image

from mmgrad_explain.cli.commands import retrieve
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.images import read_provenance


@pytest.fixture
def run(gallery_command):
    return gallery_command


@pytest.fixture
def made(run, pictures, tiny_folder):
    run("index", "pictures", "--gallery", "mine.db", "--model", tiny_folder)


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
    assert "note: the gallery has no more than 4 images to list" in out
    assert "sheet:" not in out
    options = argparse.Namespace(out=None, overwrite=True)
    assert retrieve._plan_sheet(options, "x/0.png", "名").path.name == "0_hits.png"


def test_checked_maps_say_how_far_they_can_be_trusted(run, made):
    arguments = ("retrieve", "pictures/0.png", "make it red", "--gallery", "mine.db", "-k", 2, "--check")
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert all(hit["check"]["target"] and hit["check"]["in_words"].startswith("The map ") for hit in found["hits"])
    assert read_provenance(found["sheet"])["maps"][1]["check"]["verdict"] == found["hits"][0]["check"]["verdict"]
    assert sum(line.startswith("check: hit ") for line in run(*arguments)[1].splitlines()) == 2


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
    Image.new("RGB", (20, 16)).save(hit)
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
    with pytest.raises(InputError, match=r"there is no session s\.json: begin one with an image"):
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
