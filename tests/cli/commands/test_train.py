"""``mmgrad-explain train`` from the shell's side."""

import json
from types import SimpleNamespace

import pytest

from mmgrad_explain.cli.commands import train as command
from mmgrad_explain.cli.main import HelpfulParser
from mmgrad_explain.errors import InputError
from mmgrad_explain.training import run as module
from mmgrad_explain.training.run import TrainingResult


def parse(*arguments):
    parser = HelpfulParser(prog="mmgrad-explain")
    command.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(["train", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch):
    """What the run was asked for; it does nothing."""
    seen = SimpleNamespace()

    def train(config, out, *, resume):
        seen.config, seen.out, seen.resume = config, out, resume
        return TrainingResult(out, out / "model", 7, {"r1": 0.5, "pointing": 0.25, "pointing_add": 0.1})

    monkeypatch.setattr(module, "train", train)
    return seen


def test_options_reach_the_run(asked, tmp_path, capsys):
    arguments = ("tiny", "--set", "steps=7", "--set", "grounding.weight=0", "--out", tmp_path, "--resume")
    assert command.run(parse(*arguments)) == 0
    assert (asked.config.steps, asked.config.grounding.weight, asked.out, asked.resume) == (7, 0.0, tmp_path, True)
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path}/model\n  step     7\n  held out r1 0.500  pointing 0.250\n"
    assert shown.err == ""


def test_json(asked, tmp_path, capsys):
    command.run(parse("tiny", "--out", tmp_path, "--json"))
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path),
        "model": str(tmp_path / "model"),
        "step": 7,
        "figures": {"r1": 0.5, "pointing": 0.25, "pointing_add": 0.1},
    }


def test_the_run_folder_is_called_as_the_config(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("extends: tiny\n")
    command.run(parse("mine.yaml"))
    assert str(asked.out) == "runs/mine"
    assert not asked.resume


def test_a_model_to_start_from(asked, tmp_path):
    command.run(parse("clip", "--model", "a/b: c", "--set", "sources.triplets.folder=x", "--out", tmp_path))
    assert asked.config.model.path == "a/b: c"


def test_wrong_options_are_said_before_anything_is_done(asked, tmp_path):
    with pytest.raises(InputError, match="unknown key 'stepz': did you mean 'steps'"):
        command.run(parse("tiny", "--set", "stepz=1", "--out", tmp_path))
    with pytest.raises(InputError, match="no config 'tinny': did you mean 'tiny'"):
        command.run(parse("tinny", "--out", tmp_path))
    assert not hasattr(asked, "config")


def test_stopped_before_anything_was_written(run, tmp_path, monkeypatch):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", train)
    assert run("train", "tiny", "--out", tmp_path / "r") == (130, "", "mmgrad-explain: stopped: nothing was written\n")


def test_help_tells_the_configs(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("reference-no-grounding", "clothing", "clip", "cirr", "tiny", "runs/CONFIG"))
