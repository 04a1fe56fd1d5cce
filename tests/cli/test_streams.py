"""Output in a locale without its letters, and streams that are closed."""

import io
import json
import subprocess
import sys

import pytest

from mmgrad_explain.cli.streams import prepare_streams, write_json


def in_ascii(monkeypatch):
    """Let standard output have no letters but those of ASCII; gives what is written."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    return written


def test_letters_that_the_output_has_not(monkeypatch):
    written = in_ascii(monkeypatch)
    assert prepare_streams()
    sys.stdout.write("é \udce9\n")
    assert written.getvalue() == b"\\xe9 \\udce9\n"


def test_json_stays_json(monkeypatch):
    written = in_ascii(monkeypatch)
    prepare_streams()
    write_json({"name": "é \udce9"})
    assert json.loads(written.getvalue()) == {"name": "é \udce9"}


def test_json_in_its_own_letters(capsys):
    write_json({"name": "é"})
    assert capsys.readouterr().out == '{\n  "name": "é"\n}\n'


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_streams(closed):
    words = [sys.executable, "-m", "mmgrad_explain", "completion", "bash"]
    code = f"import os; os.close({closed}); os.execv({sys.executable!r}, {words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if closed == 1:
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "mmgrad-explain: standard output is closed: let it go to a file, or to /dev/null\n"
    else:
        assert done.returncode == 0
        assert "mmgrad-explain" in done.stdout
