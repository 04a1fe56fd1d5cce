"""The journal of a set: which tasks are done, and by which of their files."""

import json

from mmgrad_explain.data.set_journal import JournalLine, read_journal, rewrite_journal


def line(key, *masks):
    return json.dumps({"photo": key, "records": [{"mask": mask} for mask in masks]}).encode() + b"\n"


def read(path, present=frozenset(), unnumbered=frozenset()):
    return read_journal(path, lambda entry: entry["photo"], present, unnumbered)


def test_lines_count_the_records_that_have_all_files(tmp_path):
    path = tmp_path / "journal"
    first, second = line("a", "masks/0.png", "masks/1.png", "masks/2.png"), line("b")
    path.write_bytes(first + b"[]\n" + second)
    assert read(path, {"masks/0.png", "masks/2.png"}, {"masks/2.png"}) == [
        JournalLine("a", 0, len(first), 3, 1, owns=True),
        JournalLine("b", len(first) + 3, len(second), 0, 0, owns=False),
    ]


def test_what_is_no_line_of_a_task_is_left_out(tmp_path):
    path = tmp_path / "journal"
    assert read(path) == []
    path.write_bytes(
        b'{"photo": "a"}\n{"records": []}\n{"photo": [], "records": []}\nnull\n\xff\n\n{"photo": "a", "records": 1}\n'
        + line("b")[:-1]
    )
    assert read(path) == []  # the last has no end


def test_lines_are_moved_to_another_order(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(line("a") + b"half" + b"\n" + line("b") + line("c"))
    a, b, c = read(path)
    moved = rewrite_journal(path, [c, a])
    assert path.read_bytes() == line("c") + line("a")
    assert moved == read(path)
    assert b.key == "b"


def test_a_journal_in_order_is_not_written(tmp_path):
    path = tmp_path / "journal"
    assert rewrite_journal(path, []) == []
    assert not path.exists()
    path.write_bytes(line("a") + line("b"))
    path.chmod(0o400)
    before = path.stat()
    assert rewrite_journal(path, read(path)) == read(path)
    assert path.stat() == before
