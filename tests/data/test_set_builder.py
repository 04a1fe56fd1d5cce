"""Building a set of either kind: the same however it comes about, nothing of anybody else is touched."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmgrad_explain._system.locking import LOCK, locked
from mmgrad_explain.data import set_builder, set_workers
from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.set_files import IMAGE_KEYS
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError, OutputExistsError

PROGRAM = Path(__file__).with_name("small_sets.py")
SMALL = runpy.run_path(str(PROGRAM))
KINDS, build, make_photographs = (SMALL[name] for name in ("KINDS", "build", "make_photographs"))
LEFT_OVER = f".mmgrad-{'0a' * 16}.tmp"
TASKS = 3

both = pytest.mark.parametrize("kind", KINDS)
either_way = pytest.mark.parametrize("flag", ["resume", "overwrite"])


class StopError(Exception):
    """A run that is broken off."""


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def named(folder):
    records = [t.to_record() for t in read_triplets(folder)]
    return {record[key] for record in records for key in IMAGE_KEYS if key in record}


def stop_after(tasks):
    def report(*_):
        nonlocal tasks
        tasks -= 1
        if not tasks:
            raise StopError

    return report


def copy(contents, folder):
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture(scope="module", autouse=True)
def _three_tasks():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene_sets, "_SCENES_A_TASK", 1)
        yield


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


@pytest.fixture
def no_work(monkeypatch):
    """Fail where a task is begun."""
    monkeypatch.setattr(set_builder, "make_in_order", lambda *_: pytest.fail("work was begun"))


# ------------------------------------------------------------------------------------------------------------ the same


@both
def test_the_number_of_workers_does_not_show(photographs, wholes, tmp_path, kind):
    built = build(kind, photographs, tmp_path, workers=2)
    assert content(tmp_path) == wholes[kind]
    assert built.made == len(read_triplets(tmp_path))
    assert 0 < built.drawing < built.working


@both
def test_the_manifest_is_returned_and_written(photographs, wholes, tmp_path, kind):
    built = build(kind, photographs, tmp_path)
    assert built.folder == tmp_path
    assert built.manifest == json.loads(wholes[kind]["manifest.json"])
    assert built.manifest["complete"] is True
    assert built.manifest["count"] == built.made == len(read_triplets(tmp_path))
    assert list(built.manifest)[-2:] == ["options", "versions"]


@both
def test_fewer_are_the_beginning_of_more_and_resuming_leads_there(photographs, wholes, tmp_path, kind):
    steps = []
    small = build(kind, photographs, tmp_path, count=3, progress=lambda *numbers: steps.append(numbers[0]))
    assert steps[-1] == 3
    before = content(tmp_path)
    assert small.manifest["count"] == len(read_triplets(tmp_path)) == 3
    first = [json.loads(line) for line in wholes[kind]["triplets.jsonl"].splitlines()[:3]]
    assert [(t.id, t.text) for t in read_triplets(tmp_path)] == [(one["id"], one["text"]) for one in first]
    assert {path for path in before if "/" in path} == named(tmp_path)
    again = build(kind, photographs, tmp_path, count=3, resume=True, progress=lambda *_: pytest.fail("made again"))
    assert again.made == 0
    assert content(tmp_path) == before
    build(kind, photographs, tmp_path, resume=True)
    assert content(tmp_path) == wholes[kind]
    build(kind, photographs, tmp_path, count=3, resume=True)
    assert content(tmp_path) == before


@both
@pytest.mark.parametrize("tasks", [1, 2])
def test_a_set_that_was_broken_off_is_finished(photographs, wholes, tmp_path, kind, tasks):
    with pytest.raises(StopError):
        build(kind, photographs, tmp_path, progress=stop_after(tasks))
    assert not (tmp_path / "triplets.jsonl").exists()
    assert not json.loads((tmp_path / "manifest.json").read_text())["complete"]
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"photo": "half a line')
    steps = []
    build(kind, photographs, tmp_path, resume=True, progress=lambda *numbers: steps.append(numbers))
    assert len(steps) == TASKS - tasks
    assert content(tmp_path) == wholes[kind]


@both
@pytest.mark.parametrize("folder", ["references", "targets", "masks"])
def test_what_was_lost_is_made_again_and_no_more(photographs, wholes, tmp_path, kind, folder):
    copy(wholes[kind], tmp_path)
    min((tmp_path / folder).iterdir()).unlink()
    steps = []
    build(kind, photographs, tmp_path, resume=True, progress=lambda *numbers: steps.append(numbers))
    assert len(steps) == 1
    assert content(tmp_path) == wholes[kind]


@both
def test_a_journal_that_is_gone_is_made_again(photographs, wholes, tmp_path, kind):
    copy(wholes[kind], tmp_path)
    (tmp_path / "journal.jsonl").unlink()
    built = build(kind, photographs, tmp_path, resume=True)
    assert built.made == built.manifest["count"]
    assert content(tmp_path) == wholes[kind]


@both
def test_a_journal_of_odd_lines_is_put_in_order(photographs, wholes, tmp_path, kind):
    copy(wholes[kind], tmp_path)
    lines = wholes[kind]["journal.jsonl"].splitlines(keepends=True)
    odd = [b"[]\n", b"null\n", b'{"records": 3}\n', b'{"records": [7]}\n', b"[" * 100_000 + b"\n", b"\xff\n", b"\n"]
    (tmp_path / "journal.jsonl").write_bytes(b"".join([lines[2], *odd, lines[0], lines[1], lines[0]]))
    assert build(kind, photographs, tmp_path, resume=True).made == 0
    assert content(tmp_path) == wholes[kind]


@both
def test_a_run_that_is_broken_off_again_keeps_what_is_ours(photographs, wholes, tmp_path, kind):
    copy(wholes[kind], tmp_path)
    for path in (tmp_path / "masks").iterdir():  # no task is whole
        path.unlink()
    for _ in range(2):
        with pytest.raises(StopError):
            build(kind, photographs, tmp_path, resume=True, progress=stop_after(1))
    build(kind, photographs, tmp_path, resume=True)
    assert content(tmp_path) == wholes[kind]


@both
def test_a_set_that_is_older_than_an_option_goes_on(photographs, wholes, tmp_path, kind):
    copy(wholes[kind], tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["options"]["places" if kind == "scenes" else "folds"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert build(kind, photographs, tmp_path, resume=True).made == 0
    assert content(tmp_path) == wholes[kind]


# ---------------------------------------------------------------------------------------------------- what is not ours


@both
@either_way
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
@pytest.mark.usefixtures("no_work")
def test_what_is_not_ours_is_named_and_left_alone(photographs, wholes, tmp_path, kind, flag, name):
    out = tmp_path / "set"
    copy({**wholes[kind], name: b"mine"}, out)
    before = content(out)
    foreign = "targets/mine" if name == "targets/mine/a.png" else name
    with pytest.raises(InputError, match=f"set holds {foreign}, which no build of a set has written: move it away"):
        build(kind, photographs, out, **{flag: True})
    assert content(out) == before


@both
def test_what_comes_while_it_is_built_stays(photographs, tmp_path, kind):
    def put(*_):
        (tmp_path / "targets" / "mine.png").write_text("mine")

    build(kind, photographs, tmp_path, progress=put)
    assert (tmp_path / "targets" / "mine.png").read_text() == "mine"


@both
@pytest.mark.usefixtures("no_work")
def test_nothing_is_replaced_unasked(photographs, wholes, tmp_path, kind):
    copy(wholes[kind], tmp_path)
    with pytest.raises(OutputExistsError, match="is not empty: --resume goes on with it, --overwrite replaces it"):
        build(kind, photographs, tmp_path)
    assert content(tmp_path) == wholes[kind]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder"):
        build(kind, photographs, tmp_path / "file")


@both
@pytest.mark.usefixtures("no_work")
def test_other_folders_are_left_alone(photographs, tmp_path, kind):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not empty: choose another folder"):
        build(kind, photographs, tmp_path)
    for name in ("notes.txt", "triplets.jsonl"):
        (tmp_path / name).write_text("mine")
        for flag in ("overwrite", "resume"):
            with pytest.raises(InputError, match=r"has no manifest.json, so it is not a set"):
                build(kind, photographs, tmp_path, **{flag: True})
    assert content(tmp_path) == {"notes.txt": b"mine", "triplets.jsonl": b"mine"}


def test_each_kind_replaces_the_other(photographs, wholes, tmp_path):
    for kind in (*KINDS, *KINDS):
        build(kind, photographs, tmp_path, overwrite=True)
        assert content(tmp_path) == wholes[kind]
        with pytest.raises(InputError, match=r"was built with .*: give the same options to resume"):
            build(*{*KINDS} - {kind}, photographs, tmp_path, resume=True)
        assert content(tmp_path) == wholes[kind]


@both
@either_way
def test_what_killed_processes_leave_is_swept_away(photographs, wholes, tmp_path, kind, flag):
    left = dict.fromkeys([LEFT_OVER, f"targets/{LEFT_OVER}", LOCK], b"half")
    copy({**wholes[kind], **left}, tmp_path)
    build(kind, photographs, tmp_path, **{flag: True})
    assert content(tmp_path) == wholes[kind]


def test_a_folder_that_holds_remains_alone_is_empty(photographs, wholes, tmp_path):
    copy({LEFT_OVER: b"half", LOCK: b""}, tmp_path)
    build("scenes", photographs, tmp_path)
    assert content(tmp_path) == wholes["scenes"]


# ------------------------------------------------------------------------------------------------------------- trouble


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("kind", "file", "flag"),
    [
        ("edits", 1, "resume"),  # the first manifest
        ("edits", 4, "resume"),  # an image
        ("edits", 7, "overwrite"),
        ("edits", 18, "resume"),  # LICENSES.txt
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


@both
def test_two_at_once(photographs, wholes, tmp_path, kind):
    out = tmp_path / "set"
    refused = []

    def another(*_):
        for flags in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="set is in use by another process: wait until it is done") as error:
                build(kind, photographs, out, **flags)
            refused.append(error)

    build(kind, photographs, out, progress=another)
    assert len(refused) == 3 * TASKS
    assert content(out) == wholes[kind]
    with locked(out):
        pass


@both
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_said(photographs, wholes, tmp_path, monkeypatch, kind):
    opened = Path.open

    def open_journal(path, mode="r", *more):
        full = path.name == "journal.jsonl" and mode == "ab"
        return opened(Path("/dev/full") if full else path, mode, *more)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_journal)
        with pytest.raises(
            InputError, match=r"cannot write to .*: No space left on device: free some space, .*, then go on with --res"
        ):
            build(kind, photographs, tmp_path)
    build(kind, photographs, tmp_path, resume=True)
    assert content(tmp_path) == wholes[kind]


@both
def test_a_killed_worker_is_said(photographs, wholes, tmp_path, monkeypatch, kind):
    class Broken:
        def __init__(self, *_):
            pass

        def submit(self, *_):
            raise set_workers.BrokenProcessPool

        def shutdown(self, **_):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(set_workers, "ProcessPoolExecutor", Broken)
        with pytest.raises(InputError, match="a worker was killed, maybe for memory: go on with --resume"):
            build(kind, photographs, tmp_path, workers=2)
    build(kind, photographs, tmp_path, resume=True)
    assert content(tmp_path) == wholes[kind]


@both
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", 0, "count must be at least 1, got 0"),
        ("workers", 0, "workers must be between 1 and 256, got 0"),
        ("workers", 300, "workers must be between 1 and 256, got 300"),
    ],
)
def test_bad_numbers_come_before_the_folder(photographs, tmp_path, kind, name, value, message):
    with pytest.raises(InputError, match=message):
        build(kind, photographs, tmp_path / "set", **{name: value})
    assert not (tmp_path / "set").exists()


def test_packages_that_are_not_there_are_left_out(monkeypatch):
    def version(package):
        if package.startswith("opencv"):
            raise set_builder.PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(set_builder, "version", version)
    assert set_builder._find_versions(["numpy", "opencv-python"]).keys() == {"mmgrad_explain", "python", "numpy"}
