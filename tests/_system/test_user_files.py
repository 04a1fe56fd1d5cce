"""What is read of a user's: its bounds, and what is said of the rest."""

import json
import os
import time

import pytest

from mmgrad_explain._system import user_files
from mmgrad_explain._system.user_files import (
    is_text,
    parse_json,
    parse_yaml,
    quote,
    read_json,
    read_text,
    reading,
    reason_of,
)
from mmgrad_explain.errors import GradientError, InputError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_what_is_raised_inside_is_said_of_the_file():
    for error in (
        AssertionError(),
        KeyError("x"),
        RecursionError("deep"),
        MemoryError(),
        ImportError("no bitsandbytes"),
    ):
        with (
            pytest.raises(InputError, match=r"^x\.json cannot be read: .") as caught,
            reading("x.json cannot be read"),
        ):
            raise error
        assert caught.value.__cause__ is error


def test_a_panic_is_said_of_the_file():
    """Libraries in Rust raise what is no Exception."""
    panic = type("PanicException", (BaseException,), {})("no entry found for key")
    with pytest.raises(InputError, match="x cannot be read: no entry found"), reading("x cannot be read"):
        raise panic


def test_own_errors_and_ctrl_c_pass():
    for error in (GradientError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reading("x cannot be read"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (ValueError(), "ValueError"),
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "it needs more memory than there is"),
        (OSError(2, "No such file", "x"), "No such file"),
        (ValueError("cannot identify <_io.BytesIO object at 0x7f00> here"), "cannot identify here"),
        (ValueError("at http://me:secret@host"), "at http://***@host"),
    ],
)
def test_reasons(error, said):
    assert reason_of(error) == said


def test_what_is_said_is_short():
    shared = ["x"]
    for _ in range(60):
        shared = [shared] * 9
    nested = []
    for _ in range(100_000):
        nested = [nested]
    for value in (
        shared,
        nested,
        "x" * 10**6,
        [10**5000],
        -(10**5000),
        {str(i): i for i in range(10**5)},
        b"x" * 10**6,
    ):
        assert len(quote(value)) <= 400
    assert len(reason_of(ValueError("x" * 10**6))) <= 400
    assert (quote("a"), quote([1, "b"]), quote(None), quote(-3)) == ("'a'", "[1, 'b']", "None", "-3")
    assert quote(10**400) == "a number of some 398 digits"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"), ("[" * 100_000, "nested too deeply"), ('["\\ud800"]', "surrogates not allowed"),
        ("", "Expecting value"),
        ("1" * 5000, "limit"),
    ],
)  # fmt: skip
def test_what_is_no_json(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=rf"x\.json cannot be read: .*{said}"):
        read_json(tmp_path / "x.json")


def test_json():
    assert parse_json('{"a": ["\\ud83d\\ude00 \\\\ud800"]}', "") == {"a": ["\U0001f600 \\ud800"]}
    assert is_text("é")
    assert not is_text("\ud800")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 10000000 characters with its aliases"),
        ("a: &a [*a]\n", "more than 10000000 characters with its aliases"),
        ("a: &a {x: 1}\n" + "".join(f"{n}: &{n} {{<<: [{', '.join([f'*{o}'] * 9)}], {n}: 1}}\n" for o, n in
                                    zip("abcdefghi", "bcdefghij", strict=True)), "more than 10000000"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2001-99-99", "month must be in"),
        ("a: " + "9" * 5000, "limit"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_no_yaml(text, said):
    begun = time.perf_counter()
    with pytest.raises(InputError, match=f"x is no YAML: .*{said}") as caught:
        parse_yaml(text, "x is no YAML")
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - begun < 20


def test_yaml():
    assert parse_yaml("", "") is None
    assert parse_yaml("a: &a {x: [1, 2.5]}\nb: {<<: *a, y: *a}", "") == {
        "a": {"x": [1, 2.5]}, "b": {"x": [1, 2.5], "y": {"x": [1, 2.5]}},
    }  # fmt: skip


def test_text_files(tmp_path):
    file = tmp_path / "x.txt"
    file.write_bytes("é\r\nb\r".encode())
    assert read_text(file) == "é\r\nb\r"  # split_lines knows what ends a line
    with pytest.raises(InputError, match=r"x\.txt is too large: it has 0 MB, of at most 0"):
        read_text(file, 3)
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"x\.txt cannot be read: .*invalid start byte"):
        read_text(file)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory"):
        read_text(tmp_path)
    with pytest.raises(InputError, match=r"/dev/zero gives more than 1 MB"):
        read_text(type(file)("/dev/zero"), 10**6)


def test_a_pipe_that_nobody_writes_into(tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "_PATIENCE", 0.05)
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"nothing has come from .*x\.json for 0\.05 seconds"):
        read_json(tmp_path / "x.json")


def test_numbers_of_json_stay_what_they_are():
    assert parse_json(json.dumps({"a": 2**70}), "") == {"a": 2**70}
