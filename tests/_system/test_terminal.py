"""What is taken for a terminal, and colours on it."""

import io

import pytest

from mmgrad_explain._system.terminal import console, is_decorated, is_terminal

pytestmark = pytest.mark.usefixtures("plain_environment")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_terminals(monkeypatch):
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(Terminal())
    assert not is_decorated(Terminal())


def test_colours_may_be_forced_on_a_pipe_but_not_the_bars(monkeypatch):
    assert is_decorated(Terminal())
    assert not is_decorated(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "")
    assert not is_decorated(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert is_decorated(io.StringIO())
    assert not is_terminal(io.StringIO())


def written(text="red", style="bold red"):
    stream = Terminal()
    console(stream).print(text, style=style)
    return stream.getvalue()


def test_no_color_takes_all_styles_away(monkeypatch):
    assert "\x1b[1;31m" in written()
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[1;31m" in written()
    monkeypatch.setenv("NO_COLOR", "1")
    assert written() == "red\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert written() == "red\n"


def test_text_is_no_markup(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert written("[bold]a :smile: 12[/bold]", style=None) == "[bold]a :smile: 12[/bold]\n"
