"""What the shell offers after TAB, asked as the shells ask it."""

import argparse
import os
import re
import subprocess
import sys

import pytest

from mmgrad_explain.cli import completers as completing
from mmgrad_explain.cli.known_names import COLORMAPS, METHODS, SCORES, bundled_layers
from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.composers.load import BUNDLED

FREE = {
    "N", "X", "S", "A,B,...", "CLASS", "TEXT", "PART", "ANSWER", "SPLIT", "SHARE", "LOW-HIGH", "ADDRESS", "MB",
    "PIXELS", "PX", "NAME",
}  # fmt: skip
"""What only the user knows."""


@pytest.fixture
def ask(tmp_path):
    """What is offered for a line whose end is the cursor, by argcomplete's own protocol."""
    (tmp_path / "photos").mkdir()
    for name in ("query.jpg", "notes.txt", "mine.yaml"):
        (tmp_path / name).touch()

    def call(line, code="import sys; from mmgrad_explain.cli.main import main; main()"):
        answer = tmp_path / "answer"
        asked = {
            "_ARGCOMPLETE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True,
            env={**os.environ, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {re.sub(r"\\([\[\]])", r"\1", one) for one in answer.read_text().split("\n")} - {
            ""
        }  # as a shell reads it

    return call


def test_commands_and_options(ask):
    assert ask("mmgrad-explain ") >= {"overlay", "layers", "data", "evaluate", "completion", "--help"}
    assert ask("mmgrad-explain data ") >= {"edits", "scenes", "check"}
    assert ask("mmgrad-explain overlay --we") == {"--weighting"}
    assert ask("mmgrad-explain completion ") >= {"bash", "zsh", "fish"}
    assert ask("mmgrad-explain data scenes --format ") == {"png", "jpg", "npy"}


def test_values(ask):
    assert ask("mmgrad-explain overlay --score ") == set(SCORES)
    assert ask("mmgrad-explain overlay --weighting gradc") == {"gradcam", "gradcam++"}
    assert ask("mmgrad-explain overlay --weighting=la") in ({"--weighting=layercam"}, {"layercam"})
    assert set(COLORMAPS) == ask("mmgrad-explain overlay --colormap ")
    assert ask("mmgrad-explain layers --model ") == {"reference", "clothing", "everyday", "photos/"}
    assert ask("mmgrad-explain overlay --device m") == {"mps"}


def test_layers_of_the_chosen_model(ask):
    assert ask("mmgrad-explain overlay --model clothing --layer ") == set(bundled_layers("clothing"))
    every = {layer for name in BUNDLED for layer in bundled_layers(name)}
    assert ask("mmgrad-explain overlay --layer ") == every
    assert ask("mmgrad-explain overlay --model ./mine --layer ") == set()


def test_configs_and_their_keys(ask):
    shipped = {"tiny", "reference", "reference-no-grounding", "clothing", "clothing-large", "everyday", "clip"}
    shipped |= {"cirr", "cirr-blip2", "fashioniq", "shoes", "cirr-frozen", "fashioniq-frozen", "shoes-frozen"}
    assert {one for one in ask("mmgrad-explain train ") if not one.startswith("-")} == shipped | {
        "mine.yaml",
        "photos/",
    }
    keys = ask("mmgrad-explain train tiny --set ")
    assert {"steps=", "grounding.weight=", "model.sizes.image_size="} <= keys
    assert not any(key.startswith("extends") for key in keys)


def test_files(ask):
    assert {one for one in ask("mmgrad-explain overlay ") if not one.startswith("-")} == {"query.jpg", "photos/"}
    assert ask("mmgrad-explain overlay --out no") == {"notes.txt"}
    assert ask("mmgrad-explain data scenes --out ") == {"photos/"}
    assert ask("mmgrad-explain data scenes --count ") == set()


def test_benchmarks(ask):
    assert "fashioniq" in ask("mmgrad-explain data check ")
    assert "cirr:" in ask("mmgrad-explain evaluate --data ")
    assert ask("mmgrad-explain evaluate --data cirr:ph") in ({"cirr:photos/"}, {"photos/"})


def test_nothing_heavy_is_imported(ask):
    code = (
        "import os, sys; leave = os._exit; os._exit = lambda code: leave(code + 3 * ('torch' in sys.modules)); "
        "from mmgrad_explain.cli.main import main; main()"
    )
    for line in ("", "overlay --score ", "overlay --layer ", "train ", "train tiny --set ", "evaluate --data "):
        assert ask(f"mmgrad-explain {line}", code)


def test_every_value_is_completed_or_the_users_own():
    silent = []
    for action in completing._actions(build_parser()):
        takes = action.nargs != 0 and action.choices is None
        if takes and completing.completer_of(action) is completing._nothing and action.metavar not in FREE:
            silent.append((action.dest, action.metavar))
    assert [one for one in silent if one not in {("alpha", None), ("text", None), ("version", None)}] == []


def offered(name, prefix="", **parsed):
    """What an option's values are completed with."""
    for action in completing._actions(build_parser()):
        if name in action.option_strings or name == action.dest:
            return list(completing.completer_of(action)(prefix=prefix, parsed_args=argparse.Namespace(**parsed)))
    raise KeyError(name)


def test_offers(program):
    assert offered("--score") == list(SCORES)
    assert offered("--layer", model="clothing") == sorted(bundled_layers("clothing"))
    assert set(offered("--layer", model=None)) == {layer for name in BUNDLED for layer in bundled_layers(name)}
    assert offered("--layer", model="./mine") == []
    assert offered("--model")[:3] == ["reference", "clothing", "everyday"]
    assert "photos/" in offered("--model")
    assert sorted(offered("images")) == ["bin/", "my picture.png", "photos/", "query.jpg"]
    assert offered("--backdrops", "ph") == ["photos/"]
    assert offered("--masks") == ["given", "difference", "clipseg", "detections", "segments"]
    assert offered("--masks", "clipseg:ph") == ["clipseg:photos/"]
    assert {"tiny", "reference", "photos/"} <= set(offered("config"))
    keys = offered("--set")
    assert keys == sorted(keys)
    assert "grounding.weight=" in keys
    assert "cirr" in offered("name")
    assert "cirr:" in offered("--data", "ci")
    assert offered("--data", "cirr:ph") == ["cirr:photos/"]
    assert offered("--answer") == []
    assert offered("--methods") == list(METHODS)
    assert "gradcam,layercam" in offered("--methods", "gradcam,lay")
    assert "gradcam,gradcam" not in offered("--methods", "gradcam,")
    assert {"refcoco:", "photos/"} <= set(offered("--maps"))
    assert "refcoco:photos/" in offered("--maps", "refcoco:ph")


def test_every_argument_gets_its_completer(monkeypatch):
    import argcomplete

    asked = []
    monkeypatch.setattr(argcomplete, "autocomplete", lambda parser, **options: asked.append((parser, options)))
    parser = build_parser()
    completing.complete(parser)
    assert asked == [(parser, {"always_complete_options": "long"})]
    for action in completing._actions(parser):
        assert hasattr(action, "completer") == (action.choices is None and action.nargs != 0)
