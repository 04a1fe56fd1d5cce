"""The folder of a set: which files are ours."""

import io
import json

import pytest

from mmgrad_explain.data.set_folder import (
    Contents,
    begin_set,
    check_options,
    enter_folder,
    list_contents,
    write_all,
)
from mmgrad_explain.errors import InputError

LEFT_OVER = f".mmgrad-{'0a' * 16}.tmp"


@pytest.fixture
def out(tmp_path):
    begin_set(tmp_path, {"seed": 0}, scenes=3)
    return tmp_path


def fill(folder, *names):
    for name in names:
        (folder / name).write_text("content")


def test_files_are_ours_by_their_numbers_or_by_records(out):
    numbered = {"references/0000000.png", "targets/0000002_1_swap.jpg", "masks/0000001_0_add_target.png"}
    numbered |= {"masks/0000001.npy", "masks/.0000002.tmp"}
    recorded = {"references/dog.jpg", "masks/0000003.npy", "targets/dog_0_blur_dog.jpg"}
    foreign = ["references/0000003.png", "references/cat.jpg", "top.png"]
    fill(out, *numbered, *recorded, *foreign, LEFT_OVER, f"masks/{LEFT_OVER}", "contact_sheet.png")
    line = {"photo": "dog.jpg", "records": [{"reference": "references/dog.jpg", "mask": "masks/0000003.npy#2"}]}
    (out / "journal.jsonl").write_text(json.dumps(line) + '\n{"records": [')
    (out / "triplets.jsonl").write_text(json.dumps({"target": "targets/dog_0_blur_dog.jpg", "mask": "masks/gone.png"}))
    found = list_contents(out)
    assert found == Contents(numbered, recorded, {LEFT_OVER, f"masks/{LEFT_OVER}"}, foreign)
    assert found.images == numbered | recorded


def test_links_and_folders_are_ours_by_records_alone(out):
    fill(out, "elsewhere")
    (out / "masks" / "0000000.png").symlink_to(out / "elsewhere")
    (out / "masks" / "0000001.png").mkdir()
    assert list_contents(out).foreign == ["elsewhere", "masks/0000000.png", "masks/0000001.png"]
    (out / "journal.jsonl").write_text(json.dumps({"records": [{"mask": f"masks/000000{n}.png"} for n in (0, 1)]}))
    assert list_contents(out).foreign == ["elsewhere", "masks/0000001.png"]


def test_the_first_of_many_foreign_files_are_named(out):
    fill(out, *"edcba")
    with pytest.raises(InputError, match="holds a, b, c and 2 more, which"):
        enter_folder(out, overwrite=False, resume=True)


@pytest.mark.parametrize("content", ['{"manifest_version": 3}', '{"options": {}}', "[]", "null", "{", "[" * 100_000])
def test_a_manifest_of_something_else_makes_no_set(out, content):
    fill(out, "references/0000000.png")
    (out / "manifest.json").write_text(content)
    for flags in ({"overwrite": True, "resume": False}, {"overwrite": False, "resume": True}):
        with pytest.raises(
            InputError, match=r"manifest.json is damaged, or of something else than a set: choose anoth"
        ):
            enter_folder(out, **flags)
    assert (out / "references" / "0000000.png").exists()


def test_the_manifest_stays_when_a_set_is_replaced(out):
    fill(out, "references/0000000.png", "triplets.jsonl", "journal.jsonl", LEFT_OVER)
    assert enter_folder(out, overwrite=True, resume=False) is None
    assert {path.name for path in out.iterdir()} == {"manifest.json", "references", "targets", "masks"}
    assert list((out / "references").iterdir()) == []


def test_resuming_removes_only_what_killed_processes_left(out):
    fill(out, "references/0000000.png", "references/.0000001.tmp", "triplets.jsonl", f"masks/{LEFT_OVER}")
    assert enter_folder(out, overwrite=False, resume=True)["options"] == {"seed": 0}
    assert list_contents(out).images == {"references/0000000.png", "references/.0000001.tmp"}
    assert (out / "triplets.jsonl").exists()
    assert list((out / "masks").iterdir()) == []


def test_the_first_option_that_differs_is_named(tmp_path):
    check_options(tmp_path, {"a": 1}, {"a": 1})
    with pytest.raises(InputError, match=r"was built with b = None, not 2: give the same options to resume, or --over"):
        check_options(tmp_path, {"a": 1, "c": 2}, {"a": 1, "b": 2})


def test_what_one_write_leaves_is_written_by_the_next():
    class Short(io.BytesIO):
        def write(self, content):
            return super().write(content[:3])

    stream = Short()
    write_all(stream, b"0123456789")
    assert stream.getvalue() == b"0123456789"
