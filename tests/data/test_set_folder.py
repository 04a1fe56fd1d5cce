"""The folder of a set: nothing of anybody else is touched, and a killed run never locks it. The same for both kinds."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmgrad_explain._system.locking import LOCK, locked
from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError

PROGRAM = Path(__file__).with_name("small_sets.py")
KINDS, build, make_photographs = (runpy.run_path(str(PROGRAM))[name] for name in ("KINDS", "build", "make_photographs"))
LEFT_OVER = f".mmgrad-{'0a' * 16}.tmp"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    make_photographs(folder)
    return folder


@pytest.fixture(scope="module")
def wholes(photographs, tmp_path_factory):
    """What an undisturbed run of each kind makes."""
    folder = tmp_path_factory.mktemp("wholes")
    for kind in KINDS:
        build(kind, photographs, folder / kind)
    return {kind: content(folder / kind) for kind in KINDS}


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "references/mine.txt",
        "targets/0000000.txt",
        "masks/9000000.png",
        "masks/.mine.tmp",
        "targets/mine/a.png",
    ],
)
def test_what_is_not_ours_is_said_and_left_alone(photographs, tmp_path, monkeypatch, kind, flag, name):
    out = tmp_path / "set"
    build(kind, photographs, out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    before = content(out)
    for maker in ("mmgrad_explain.data.edits.build.make_triplets", "mmgrad_explain.data.scenes.build.write_scenes"):
        monkeypatch.setattr(maker, lambda *_: pytest.fail("work was begun"))
    foreign = "targets/mine" if name == "targets/mine/a.png" else name
    with pytest.raises(InputError, match=f"set holds {foreign}, which no build of a set has written: move it away"):
        build(kind, photographs, out, **{flag: True})
    assert content(out) == before


def test_the_first_of_many_are_named(photographs, tmp_path):
    build("scenes", photographs, tmp_path)
    for name in "edcba":
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds a, b, c and 2 more, which"):
        build("scenes", photographs, tmp_path, resume=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_while_it_is_built_stays(photographs, tmp_path, kind):
    def put(*_):
        (tmp_path / "targets" / "mine.png").write_text("mine")

    build(kind, photographs, tmp_path, progress=put)
    assert (tmp_path / "targets" / "mine.png").read_text() == "mine"


@pytest.mark.parametrize("manifest", [{"manifest_version": 3}, {"format": "mmgrad_explain.explanation/1"}, [], None])
def test_a_manifest_of_something_else_makes_no_set(photographs, tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "0000000.png").write_text("mine")
    before = content(tmp_path)
    for flag in ("resume", "overwrite"):
        with pytest.raises(InputError, match=r"manifest.json is damaged, or of something else than a set"):
            build("scenes", photographs, tmp_path, **{flag: True})
    assert content(tmp_path) == before


def test_each_kind_replaces_the_other(photographs, wholes, tmp_path):
    for kind in (*KINDS, *KINDS):
        build(kind, photographs, tmp_path, overwrite=True)
        assert content(tmp_path) == wholes[kind]
        with pytest.raises(InputError, match=r"was built with .*: give the same options to resume"):
            build(*{*KINDS} - {kind}, photographs, tmp_path, resume=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_what_killed_processes_leave_is_swept_away(photographs, wholes, tmp_path, kind, flag):
    build(kind, photographs, tmp_path)
    for name in (LEFT_OVER, f"targets/{LEFT_OVER}", LOCK):
        (tmp_path / name).write_text("half")
    build(kind, photographs, tmp_path, **{flag: True})
    assert content(tmp_path) == wholes[kind]


def test_a_folder_that_holds_remains_alone_is_empty(photographs, wholes, tmp_path):
    (tmp_path / LEFT_OVER).write_text("half")
    (tmp_path / LOCK).touch()
    build("scenes", photographs, tmp_path)
    assert content(tmp_path) == wholes["scenes"]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("kind", "file", "flag"),
    [
        ("edits", 1, "resume"),  # the first manifest
        ("edits", 4, "resume"),  # a picture
        ("edits", 7, "overwrite"),
        ("edits", 18, "resume"),  # triplets.jsonl
        ("scenes", 2, "overwrite"),  # triplets.jsonl
        ("scenes", 3, "resume"),  # the last manifest
    ],
)
def test_a_killed_run_is_gone_on_with_or_replaced(photographs, wholes, tmp_path, kind, file, flag):
    out = tmp_path / "set"
    died = subprocess.run([sys.executable, PROGRAM, kind, photographs, out, str(file)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert list(out.rglob(".mmgrad-*.tmp"))
    build(kind, photographs, out, **{flag: True})
    assert content(out) == wholes[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_two_at_once(photographs, wholes, tmp_path, kind):
    out = tmp_path / "set"
    refused = []

    def another(*_):
        for flags in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="set is in use by another process: wait until it is done") as error:
                build(kind, photographs, out, **flags)
            refused.append(error)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene_sets, "_CHUNK", 1)
        build(kind, photographs, out, progress=another)
    assert len(refused) >= 6
    triplets = read_triplets(out)
    assert len({one.id for one in triplets}) == len(triplets)
    assert content(out).keys() == wholes[kind].keys()
    with locked(out):
        pass


def test_a_worker_ends_with_its_parent(tmp_path):
    program = """
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from mmgrad_explain.data.set_workers import prepare_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), prepare_worker)
    print(pool.submit(abs, 1).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)  # until both have closed the pipe
    assert done.returncode == -signal.SIGKILL
    assert done.stdout
