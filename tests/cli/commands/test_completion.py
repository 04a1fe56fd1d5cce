"""``mmgrad-explain completion``: the code is printed, and real shells complete with it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_is_printed(run, shell):
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert "mmgrad-explain" in out
    assert "_ARGCOMPLETE" in out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


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
