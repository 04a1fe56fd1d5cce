"""Progress bars on a terminal, and nothing anywhere else."""

import io
import re
import sys
import threading

import pytest

from mmgrad_explain._system import progress
from mmgrad_explain._system.progress import Bar

pytestmark = pytest.mark.usefixtures("plain_environment")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_a_terminal(monkeypatch):
    """Makes standard error one; pytest puts its own back after the set-up."""

    def put_up():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return put_up


def test_each_kind_of_work_has_its_line(on_a_terminal):
    stream = on_a_terminal()
    with Bar() as bar:
        bar.show("pictures", 3, 3)
        bar.show("queries", 1, 2)
    last = stream.getvalue().split("\r")[-1]
    assert "pictures" in last
    assert "queries" in last
    assert "1/2" in last


def test_a_bar_goes_on_and_is_left_whole(on_a_terminal):
    shown, before = on_a_terminal(), threading.active_count()
    with Bar() as bar:
        for done in (1, 2, 3):
            bar.show("pictures", done, 3, "and more")
            assert threading.active_count() == before
    last = shown.getvalue().split("\r")[-1]
    assert "pictures" in last
    assert "3/3" in last
    assert "and more" in last
    assert last.removesuffix("\x1b[?25h").endswith("\n")
    assert shown.getvalue().rindex("\x1b[?25h") > shown.getvalue().rindex("\x1b[?25l")
    assert threading.active_count() == before


def test_the_cursor_stays_while_it_is_shown(on_a_terminal):
    shown = on_a_terminal()
    bar = Bar()
    bar.show("pictures", 1, 3)
    assert shown.getvalue().rindex("\x1b[?25h") > shown.getvalue().rindex("\x1b[?25l")
    bar.end()
    bar.end()


def test_it_is_not_drawn_for_every_step(on_a_terminal, monkeypatch):
    on_a_terminal()
    now = iter([100.0, 100.0, 100.05, 100.06, 100.2, 100.2, 100.21])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    bar = Bar()
    monkeypatch.setattr(progress, "_progress", Fake)
    for done in range(4):
        bar.show("pictures", done)
    assert bar._progress.drawn == 2
    bar.show("pictures", 4, 4)
    assert bar._progress.drawn == 3


class Fake:
    drawn = 0

    def add_task(self, *_, **__):
        return 0

    def update(self, *_, **__):
        pass

    def refresh(self):
        self.drawn += 1


def test_nothing_is_shown_on_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Bar() as bar:
        bar.show("pictures", 1, 3)
    assert sys.stderr.getvalue() == ""


def test_standard_output_stays_what_it_was(on_a_terminal):
    shown = on_a_terminal()
    before = sys.stdout
    with Bar() as bar:
        bar.show("pictures", 1, 3)
        assert sys.stdout is before
        sys.stderr.write("a word\n")
    assert sys.stderr is shown
    assert "a word" in shown.getvalue()


@pytest.mark.parametrize("columns", ["12", "30"])
def test_a_narrow_terminal(on_a_terminal, monkeypatch, columns):
    shown = on_a_terminal()
    monkeypatch.setenv("COLUMNS", columns)
    with Bar() as bar:
        bar.show("pictures", 2, 3, "a long remark beside it")
    lines = re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", shown.getvalue().replace("\r", "\n")).split("\n")
    assert any(line.startswith("pic") for line in lines)
    assert all(len(line) <= int(columns) for line in lines)
