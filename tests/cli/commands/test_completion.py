"""What the shell offers after TAB, asked as the shells ask it."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmgrad_explain.cli import shell_completion as completing
from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.cli.names import COLORMAPS, LAYERS, SCORES

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
    assert ask("mmgrad-explain overlay --weighting g") == {"gradcam", "gradcam++"}
    assert ask("mmgrad-explain overlay --weighting=la") in ({"--weighting=layercam"}, {"layercam"})
    assert set(COLORMAPS) == ask("mmgrad-explain overlay --colormap ")
    assert ask("mmgrad-explain layers --model ") == {"reference", "clothing", "photos/"}
    assert ask("mmgrad-explain overlay --device m") == {"mps"}


def test_layers_of_the_chosen_model(ask):
    assert ask("mmgrad-explain overlay --model clothing --layer ") == set(LAYERS["clothing"])
    assert ask("mmgrad-explain overlay --layer ") == set(LAYERS["reference"]) | set(LAYERS["clothing"])
    assert ask("mmgrad-explain overlay --model ./mine --layer ") == set()


def test_configs_and_their_keys(ask):
    shipped = {"tiny", "reference", "reference-no-grounding", "clothing", "clip"}
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
        if takes and completing.offer(action) is completing._nothing and action.metavar not in FREE:
            silent.append((action.dest, action.metavar))
    assert [one for one in silent if one not in {("alpha", None), ("text", None), ("version", None)}] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_is_printed(run, shell):
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert "mmgrad-explain" in out
    assert "_ARGCOMPLETE" in out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The command on the PATH, and files to complete, in the current folder."""
    path = tmp_path / "bin" / "mmgrad-explain"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmgrad_explain "$@"\n')
    path.chmod(0o755)
    (tmp_path / "photos").mkdir()
    for name in ("query.jpg", "my picture.png", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_a_real_fish_completes(program):
    lines = {
        "mmgrad-explain overl": ["overlay\tdraw where the model looks because of a text"],
        "mmgrad-explain layers --model ref": ["reference"],
        "mmgrad-explain overlay query.jpg --weighting=hi": ["--weighting=hirescam"],
        "mmgrad-explain overlay my": ["my picture.png"],
        "mmgrad-explain evaluate --data cirr:ph": ["cirr:photos/"],
        "mmgrad-explain overlay query.jpg q.png --layer x --answer ": [],
    }
    script = "mmgrad-explain completion fish | source\n"
    script += "".join(f"complete -C '{line}'; echo @@\n" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    offers = [part.splitlines() for part in done.stdout.split("@@\n")[:-1]]
    assert dict(zip(lines, offers, strict=True)) == lines


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_real_zsh_completes(program):
    """Typed as a person types: the line, TAB, and then what is there now is printed."""
    pty = pytest.importorskip("pty")
    lines = {
        "mmgrad-explain overl": "mmgrad-explain overlay",
        "mmgrad-explain layers --model ref": "mmgrad-explain layers --model reference",
        "mmgrad-explain overlay query.jpg --weighting hi": "mmgrad-explain overlay query.jpg --weighting hirescam",
        "mmgrad-explain overlay my": "mmgrad-explain overlay my picture.png",
        "mmgrad-explain overlay --out no": "mmgrad-explain overlay --out notes.txt",
    }
    start = "bindkey -e; autoload -Uz compinit && compinit -u -D; source <(mmgrad-explain completion zsh)\n"
    typed = start + "".join(f"{line}\t\x01print -r -- 'now:' \x05 :end\n" for line in lines) + "exit 0\n"
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="dumb", PS1="", COLUMNS="200")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    shown = b""
    try:
        signal.alarm(120)
        os.write(terminal, typed.encode())
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # nobody writes any more
        pass
    finally:
        signal.alarm(0)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    said = [line.split() for line in shown.decode(errors="replace").splitlines() if line.startswith("now: ")]
    assert [" ".join(words[1:-1]) for words in said] == list(lines.values()), shown.decode(errors="replace")


# ------------------------------------------------------------------------------- what is offered, asked in this process


def offered(name, prefix="", **parsed):
    """What an option's values are completed with."""
    for action in completing._actions(build_parser()):
        if name in action.option_strings or name == action.dest:
            return list(completing.offer(action)(prefix=prefix, parsed_args=argparse.Namespace(**parsed)))
    raise KeyError(name)


def test_offers(program):
    assert offered("--score") == list(SCORES)
    assert offered("--layer", model="clothing") == sorted(LAYERS["clothing"])
    assert set(offered("--layer", model=None)) == {layer for some in LAYERS.values() for layer in some}
    assert offered("--layer", model="./mine") == []
    assert offered("--model")[:2] == ["reference", "clothing"]
    assert "photos/" in offered("--model")
    assert sorted(offered("images")) == ["bin/", "my picture.png", "photos/", "query.jpg"]
    assert offered("--backdrops", "ph") == ["photos/"]
    assert {"tiny", "reference", "photos/"} <= set(offered("config"))
    keys = offered("--set")
    assert keys == sorted(keys)
    assert "grounding.weight=" in keys
    assert "cirr" in offered("name")
    assert "cirr:" in offered("--data", "ci")
    assert offered("--data", "cirr:ph") == ["cirr:photos/"]
    assert offered("--answer") == []


def test_every_argument_gets_its_completer(monkeypatch):
    import argcomplete

    asked = []
    monkeypatch.setattr(argcomplete, "autocomplete", lambda parser, **options: asked.append((parser, options)))
    parser = build_parser()
    completing.complete(parser)
    assert asked == [(parser, {"always_complete_options": "long"})]
    for action in completing._actions(parser):
        assert hasattr(action, "completer") == (action.choices is None and action.nargs != 0)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_real_bash_completes(tmp_path):
    program = tmp_path / "bin" / "mmgrad-explain"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmgrad_explain "$@"\n')
    program.chmod(0o755)
    script = """
source <(mmgrad-explain completion bash)
try() { COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=(); _python_argcomplete mmgrad-explain; echo "${COMPREPLY[*]}"; }
complete -p mmgrad-explain
try "mmgrad-explain overl"
try "mmgrad-explain layers --model ref"
try "mmgrad-explain overlay a.png --weighting=hi"
try "mmgrad-explain overlay 'make it"
"""
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(Path(tmp_path))}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    registered, *offers, none = done.stdout.split("\n")[:-1]
    assert registered.endswith("-F _python_argcomplete mmgrad-explain")
    assert [offer.strip() for offer in offers] == ["overlay", "reference", "hirescam"]
    assert none == ""
