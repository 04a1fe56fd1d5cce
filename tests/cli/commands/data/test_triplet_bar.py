"""How many triplets are made, on a terminal."""

import io
import sys

import pytest

from mmgrad_explain.cli.commands.data.triplet_bar import TripletBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")

    def put_up():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return put_up


@pytest.mark.parametrize(("count", "part"), [(None, "7/?"), (9, "7/9")])
def test_triplets_and_where_they_come_from(terminal, count, part):
    stream = terminal()
    with TripletBar(count) as show:
        show(7, 2)
    shown = stream.getvalue()
    assert "triplets" in shown
    assert part in shown
    assert "from 2 photographs" in shown


def test_scenes_come_from_no_photographs(terminal):
    stream = terminal()
    with TripletBar(9) as show:
        show(9)
    assert "photographs" not in stream.getvalue()
