"""The table of generative models in the documentation is what the code says."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "generative_table.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("generative_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date(script, tmp_path, monkeypatch, capsys):
    assert script.CHECKPOINTS.keys() == script.FAMILIES.keys()
    assert script.main(["--check"]) == 0
    page = tmp_path / "generative.md"
    page.write_text(f"a\n{script.BEGIN}\nold\n{script.END}\nb\n")
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr(script, "table", lambda: "new")
    assert script.main(["--check"]) == 1
    assert "run python docs/generative_table.py" in capsys.readouterr().err
    assert script.main([]) == 0
    assert page.read_text() == f"a\n{script.BEGIN}\n\nnew\n\n{script.END}\nb\n"
