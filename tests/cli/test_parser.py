"""Short and long help, and one line for what was typed wrong."""

import pytest

from mmgrad_explain.cli.parser import HelpfulParser


@pytest.mark.parametrize("command", [[], ["overlay"], ["layers"], ["completion"]])
def test_short_and_long_help(run, command):
    code, short, _ = run(*command, "-h")
    long_code, long, _ = run(*command, "--help")
    assert code == long_code == 0
    assert long.startswith(short.rstrip("\n"))
    assert "Examples:" in long
    assert "Examples:" not in short


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "overly",
            "argument COMMAND: invalid choice: 'overly': did you mean 'overlay'? choose from overlay, compare",
        ),
        ("data chek", "argument COMMAND: invalid choice: 'chek': did you mean 'check'? choose from edits, scenes"),
        ("completion bsh", "argument SHELL: invalid choice: 'bsh': did you mean 'bash'? choose from bash, zsh, fish"),
        ("overlay a.png red --modle=x", "unrecognized arguments: --modle: did you mean '--model'? (see mmgrad-explain"),
        ("layers --qqqqqqq", "mmgrad-explain layers: unrecognized arguments: --qqqqqqq (see mmgrad-explain layers"),
        ("--verson", "mmgrad-explain: unrecognized arguments: --verson: did you mean '--version'? (see"),
        ("layers make it red", "unrecognized arguments: make it red: put quotes around a text of several words (see"),
        ("train", "required: CONFIG, for example: mmgrad-explain train tiny --out runs/tiny (see mmgrad-explain train"),
        ("overlay a.png", 'required: TEXT, for example: mmgrad-explain overlay query.jpg "make it red" (see'),
    ],
)
def test_what_was_typed_wrong(run, failed, line, message):
    failed(run(*line.split()), message)


def test_after_two_dashes_all_is_meant_as_it_is(run, failed):
    failed(run("overlay", "nothing.png", "--", "--odd"), "no such file: nothing.png: check its name")
    failed(run("overlay", "nothing.png", "--odd one"), "no such file: nothing.png")


def test_a_parser_without_examples_gives_none(capsys):
    parser = HelpfulParser(prog="p")
    parser.add_argument("x")
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert capsys.readouterr().err == "p: the following arguments are required: x (see p --help)\n"
