"""Help fits the terminal, and its commands can still be copied."""

import shlex

import pytest

from mmgrad_explain.cli.help_text import wrap_help
from mmgrad_explain.cli.main import build_parser

TEXT = """\
Prose that is longer than the width is
filled again.

Names:
  one     what the first of them is, at some length
  --two N

A line before a command:
  mmgrad-explain overlay a.jpg "make it red" --target b.jpg --words --out where.png
  mmgrad-explain demo
"""


def test_prose_lists_and_commands():
    assert wrap_help(TEXT, 34).split("\n") == [
        "Prose that is longer than the",
        "width is filled again.",
        "",
        "Names:",
        "  one     what the first of them",
        "          is, at some length",
        "  --two N",
        "",
        "A line before a command:",
        "  mmgrad-explain overlay a.jpg \\",
        '      "make it red" \\',
        "      --target b.jpg --words \\",
        "      --out where.png",
        "  mmgrad-explain demo",
    ]


def test_what_hangs_is_joined_and_long_words_stay_whole():
    assert wrap_help("  a  one\n     two", 80) == "  a  one two"
    assert wrap_help("  no second column here at all", 16) == "  no second\n    column here\n    at all"
    assert wrap_help("a-very-long-word-with-hyphens", 10) == "a-very-long-word-with-hyphens"


def parsers(parser, name="mmgrad-explain"):
    yield name, parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for word, below in action.choices.items():
                yield from parsers(below, f"{name} {word}")


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", [name for name, _ in parsers(build_parser())])
def test_every_help_fits(run, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = run(*name.split()[1:], "--help")
    assert code == 0
    lines = out.splitlines()
    assert [line for line in lines if len(line) > min(columns, 102) and " " in line.strip()] == []
    copied = out.replace(" \\\n", " ")
    for line in dict(parsers(build_parser()))[name].details.splitlines():
        if line.startswith("  mmgrad-explain "):
            assert shlex.split(line) in [shlex.split(one) for one in copied.splitlines() if one[:8] == "  mmgrad"]


def test_commands_stand_beside_what_they_do(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "\n    completion  print what a shell needs" in run("-h")[1]
    assert "\n    scenes  draw scenes of" in run("data", "-h")[1]
