"""The sentences that README, docs and helps show are of words that the bundled model which would answer knows."""

import argparse
import ast
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.composers.bundled import choose_bundled
from mmgrad_explain.composers.content_words import find_unknown_words, say_lost
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.web.examples import KINDS, choose_kind, draw_examples

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"(?m)^( *)```(python|sh|bash|console|shell)\n(.*?)^\1```", re.DOTALL)
COMMAND = re.compile(r"(?m)^ *\$? *(?:cat \S+ \| )?mmgrad-explain ((?:overlay|retrieve) .*?)(?:  +.*)?$")


@pytest.fixture(scope="module")
def bundled():
    return {name: load_composer(name) for name in BUNDLED}


def of_commands(text):
    """Command, model and sentence of each ``overlay`` and ``retrieve``."""
    parser = build_parser()
    for command in COMMAND.findall(text.replace("\\\n", " ")):
        try:
            options, _ = parser.parse_known_args(shlex.split(command.partition(" | ")[0], comments=True))
        except (SystemExit, ValueError):
            continue  # a form, not a command; tests/docs/test_commands.py says whether what is shown runs
        yield command, options.model, options.query[-1] if hasattr(options, "query") else options.text


def of_python(code):
    """Call, model and sentences of each ``explain`` and ``phrase_maps``; a model that is no constant is left out."""
    for call in ast.walk(ast.parse(code)):
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", None) in ("explain", "phrase_maps")):
            continue
        given = {word.arg: word.value for word in call.keywords}
        model = given.get("model", call.args[3] if len(call.args) > 3 else ast.Constant(None))
        text = given.get("text", call.args[1] if len(call.args) > 1 else None)
        if isinstance(model, ast.Constant) and text is not None:
            for one in ast.walk(text):
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield ast.unparse(call), model.value, one.value


def shown():
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in PAGES]
    for name, text in texts:
        for _, language, code in FENCED.findall(text):
            found = of_python(textwrap.dedent(code)) if language == "python" else of_commands(code)
            yield from ((name, *one) for one in found)
    for name, details in helps(build_parser()):
        yield from ((name, *one) for one in of_commands(details))


def helps(parser, name="--help"):
    yield name, getattr(parser, "details", None) or ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from helps(below, word)


def test_sentences_are_found():
    found = list(shown())
    assert len({name for name, *_ in found}) > 8
    assert {"overlay", "retrieve", "README.md"} <= {name for name, *_ in found}
    assert list(of_commands('  mmgrad-explain overlay a.jpg "make it red" --model clothing  # so\n')) == [
        ('overlay a.jpg "make it red" --model clothing', "clothing", "make it red")
    ]
    assert [one[1:] for one in of_python('explain("a.jpg", ["x", "y"], model=mine)\nexplain(p, ["x", "y"])')] == [
        (None, "x"),
        (None, "y"),
    ]


def test_they_are_known(bundled):
    wrong = []
    for name, shown_as, model, text in shown():
        who = [model] if model is not None else list(BUNDLED)
        if not set(who) <= set(BUNDLED):
            continue
        unknown = {one: find_unknown_words(bundled[one], [text]) for one in who}
        everyone = shown_as.startswith("retrieve")  # whichever model the gallery got
        lost = [one for one in who if say_lost(text, unknown[one])]
        if all(unknown.values()) or (everyone and lost):
            wrong.append((name, shown_as, unknown))
    assert wrong == []


def test_the_pages_examples_are_known(bundled):
    for kind in KINDS:
        of_kind = [one for one in bundled.values() if choose_kind(one) == kind]
        assert [] in [find_unknown_words(one, [example.text for example in draw_examples(kind)]) for one in of_kind]


def test_the_shapes_examples_are_answered_by_their_model(bundled):
    for one in draw_examples():
        assert choose_bundled([one.image], [one.text], load=bundled.get).name == "reference"
