"""The line that says how far a command has come."""

import sys

import pytest

from mmgrad_explain.cli.progress import Progress


def test_progress_shows_on_a_terminal_alone(capsys, monkeypatch):
    show = Progress(20)
    show(10)
    show.end()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show(10)
    show(20)
    show.end()
    assert capsys.readouterr().err == "\r\x1b[K10 of 20 triplets \r\x1b[K20 of 20 triplets \n"


@pytest.mark.parametrize(("count", "line"), [(None, "7 triplets"), (9, "7 of 9 triplets")])
def test_photographs_are_counted_where_there_are_any(capsys, monkeypatch, count, line):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Progress(count)(7, 2)
    assert capsys.readouterr().err == f"\r\x1b[K{line} from 2 photographs "
