"""What is printed on a terminal, in a pipe, and as the environment wishes."""

import os
import re
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty", reason="needs pseudo terminals")

CODE = """
import sys
from mmgrad_explain.cli.printing import Table, complain, note, show
rows = [("1", "+0.9", "photos/name.jpg", "one word " * 9), ("2", "+0.1", "写真/赤い星.jpg\\nthe same: b.jpg", "短い")]
show("a title", Table(("hit", "score", "picture", "why"), rows, "plain rows", numbers=(0, 1), marked=(0,), broken=(3,)))
show("file.png\\n  score   shift = 1\\n  edits [bold]", "note: look", "odd: :smile: thing", "other.png\\n  x")
note("a [red]note[/red]")
complain("program", "a long\\n  complaint " + "on and on " * 20)
"""
RULE = "─" * 20
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLORTERM"}}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "60", "PYTHONIOENCODING": "utf-8", **changes}


def on_a_terminal(*command, **changes):
    """All that a command shows on a pseudo terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment(**changes))
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux says so where nobody writes any more
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait() in {0, 2}
    return shown.decode().replace("\r\n", "\n")


def piped(**changes):
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment(**changes)
    )
    return done.stdout, done.stderr


PLAIN = """\
a title
plain rows
file.png
  score   shift = 1
  edits [bold]
note: look
odd: :smile: thing
other.png
  x
"""


@pytest.mark.parametrize("changes", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_pipe_gets_plain_lines(changes):
    out, err = piped(**changes)
    assert out == PLAIN
    assert err == f"note: a [red]note[/red]\nprogram: a long complaint {'on and on ' * 20}".rstrip() + "\n"


def width(text):
    from rich.cells import cell_len

    return cell_len(text)


def test_a_terminal_gets_tables_and_colours():
    shown = on_a_terminal(sys.executable, "-c", CODE)
    assert "\x1b[1ma title\x1b[0m\n" in shown
    assert "\x1b[1;32m" in shown  # the first hit
    assert "  \x1b[36mscore\x1b[0m   shift = 1\n" in shown
    assert "\x1b[33mnote\x1b[0m: look\n" in shown
    assert "\x1b[33modd\x1b[0m: :smile: thing\n" in shown
    assert "\x1b[1mother.png\x1b[0m\n" in shown
    assert "\x1b[1;33mnote:\x1b[0m a [red]note[/red]\n" in shown
    assert f"\x1b[1;31mprogram:\x1b[0m a long complaint {'on and on ' * 19}" in shown
    plain = STYLE.sub("", shown)
    table = plain.partition("a title\n")[2].partition("file.png")[0].split("\n")[:-1]
    assert max(map(width, table)) <= 60
    for cells in (("picture", "photos/", "写真", "the same"), ("why", "one word one", "短い")):
        assert len({width(line.partition(cell)[0]) for line in table for cell in cells if cell in line}) == 1


def test_no_color_keeps_the_tables():
    shown = on_a_terminal(sys.executable, "-c", CODE, NO_COLOR="1")
    assert "\x1b" not in shown
    assert RULE in shown
    assert "program: a long complaint" in shown


def test_a_dumb_terminal_gets_plain_lines():
    assert on_a_terminal(sys.executable, "-c", CODE, TERM="dumb").startswith(PLAIN)


def test_force_color_reaches_pipes():
    out, err = piped(FORCE_COLOR="1")
    assert "\x1b[1ma title\x1b[0m" in out
    assert RULE in out
    assert "\x1b[1;31mprogram:" in err
    out, err = piped(FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b" not in out + err
    assert RULE in out


@pytest.mark.parametrize("changes", [{}, {"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "COLUMNS": "20"}])
def test_python_that_prints_gets_the_same_as_the_command(monkeypatch, capsys, changes):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(**changes).items():
        monkeypatch.setenv(name, value)
    exec(CODE, {})
    done = capsys.readouterr()
    assert (done.out, done.err) == piped(**changes)


@pytest.mark.parametrize("columns", ["1", "8", "25"])
def test_a_narrow_terminal_breaks_nothing(columns):
    shown = STYLE.sub("", on_a_terminal(sys.executable, "-c", CODE, COLUMNS=columns))
    assert "plain rows\nfile.png\n  score   shift = 1\n" in shown


def test_letters_that_the_terminal_does_not_know_are_left_out_of_frames():
    out, _ = subprocess.Popen(
        [sys.executable, "-c", "from mmgrad_explain.cli.printing import *; show(Table(('a',), [('b',)], 'plain'))"],
        stdout=subprocess.PIPE, env=environment(FORCE_COLOR="1", NO_COLOR="1", PYTHONIOENCODING="ascii"),
    ).communicate()  # fmt: skip
    assert out.decode("ascii").splitlines()[1] == "---"


def test_commands_on_a_terminal(tmp_path):
    scenes = ["data", "scenes", "--out", str(tmp_path / "s"), "--count", "40", "--workers", "1"]
    commands = [scenes, ["overlay", "nothing.png", "make it red"], ["layers"]]
    code = f"from mmgrad_explain.cli.main import main\nfor words in {commands!r}:\n    main(words)\n    print('next')"
    made, failed, layers, _ = on_a_terminal(sys.executable, "-c", code, COLUMNS="120").split("next\n")
    assert "40/40" in STYLE.sub("", made)
    assert "\x1b[36mtriplets\x1b[0m  40 of 10 scenes" in made
    assert failed == "\x1b[1;31mmmgrad-explain:\x1b[0m no such file: nothing.png: check its name\n"
    assert "\x1b[1;32m*" in layers
    assert RULE in layers
