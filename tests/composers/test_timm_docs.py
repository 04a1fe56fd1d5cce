"""The table of timm's architectures in the documentation is what the code says."""

import importlib.util
from pathlib import Path

import pytest
import timm
from torch import nn

SCRIPT = Path(__file__).parents[2] / "docs" / "timm_table.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("timm_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(script):
    text = script.PAGE.read_text()
    lines = text.partition(script.BEGIN)[2].partition(script.END)[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_model_has_its_row(script):
    names = [row[0].split("`")[1] for row in rows_of(script)]
    assert names == sorted(script.MODELS)
    assert not [row for row in rows_of(script) if row[2] == "refused"]
    assert set(script.MODELS) <= set(timm.list_models())


@pytest.mark.parametrize("name", ["pit_ti_224", "resnet10t", "starnet_s050", "mobilenetv3_small_050"])
def test_a_row_is_up_to_date(script, name):
    assert script.row(name, script.MODELS[name]) in rows_of(script)


def test_a_refusal_has_its_row(script, monkeypatch):
    model = nn.Conv2d(3, 4, 8)
    model.pretrained_cfg = {"input_size": (3, 16, 16), "architecture": "odd"}
    monkeypatch.setattr(script.timm, "create_model", lambda *_, **__: model)
    reason = "timm's odd does not say how its features lie on the picture (forward_intermediates)"
    assert script.row("odd", {}) == ["`odd`", "16", "refused", "", "", reason]


def test_the_page_is_written_and_checked(script, tmp_path, monkeypatch, capsys):
    page = tmp_path / "towers.md"
    page.write_text(f"a\n{script.BEGIN}\nold\n{script.END}\nb\n")
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr(script, "MODELS", {"a": {}, "b": {"depth": 1}})
    monkeypatch.setattr(script, "row", lambda name, options: [name, str(len(options)), "", "", "", "yes"])
    assert script.main(["--check"]) == 1
    assert "run python docs/timm_table.py" in capsys.readouterr().err
    assert script.main([]) == 0
    assert "| a | 0 |  |  |  | yes |\n| b | 1 |  |  |  | yes |\n\n<!-- table: end -->\nb\n" in page.read_text()
    assert script.main(["--check"]) == 0
