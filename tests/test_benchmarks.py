"""Every benchmark has a short run that goes the whole way."""

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_quick_runs(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert stop.value.code == 0
    assert "|---|" in capsys.readouterr().out
