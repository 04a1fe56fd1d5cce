"""The tables of models in the documentation are what the code says."""

from pathlib import Path

import pytest
import timm
from torch import nn

DOCS = Path(__file__).parents[2] / "docs"


def of(*names):
    return pytest.mark.parametrize("docs_script", names, indirect=True)


@of("models_table", "generative_table")
def test_the_table_is_up_to_date(docs_script):
    assert docs_script.main(["--check"]) == 0


@of("models_table", "generative_table", "timm_table")
def test_the_page_is_written_and_checked(docs_script, tmp_path, monkeypatch, capsys):
    page = tmp_path / docs_script.PAGE.name
    begin, end = f"<!-- table: begin, by docs/{docs_script.__name__}.py -->", "<!-- table: end -->"
    assert f"\n{begin}\n" in docs_script.PAGE.read_text()
    page.write_text(f"a\n{begin}\nold\n{end}\nb\n")
    monkeypatch.setattr(docs_script, "PAGE", page)
    monkeypatch.setattr(docs_script, "table", lambda: "new")
    assert docs_script.main(["--check"]) == 1
    message = f"docs/{page.name} is not what the code says: run python docs/{docs_script.__name__}.py\n"
    assert capsys.readouterr().err == message
    assert docs_script.main([]) == 0
    assert page.read_text() == f"a\n{begin}\n\nnew\n\n{end}\nb\n"
    assert docs_script.main(["--check"]) == 0


# ---------------------------------------------------------------- timm, whose whole table takes minutes


def rows_of(docs_script):
    lines = docs_script.PAGE.read_text().partition("table: begin")[2].partition("<!-- table: end")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


@of("timm_table")
def test_every_model_has_its_row(docs_script):
    names = [row[0].split("`")[1] for row in rows_of(docs_script)]
    assert names == sorted(docs_script.MODELS)
    assert not [row for row in rows_of(docs_script) if row[2] == "refused"]
    assert set(docs_script.MODELS) <= set(timm.list_models())


@pytest.mark.parametrize("name", ["pit_ti_224", "resnet10t", "starnet_s050", "mobilenetv3_small_050"])
@of("timm_table")
def test_a_row_is_up_to_date(docs_script, name):
    assert docs_script.row(name, docs_script.MODELS[name]) in rows_of(docs_script)


@of("timm_table")
def test_rows_become_a_table(docs_script, monkeypatch):
    monkeypatch.setattr(docs_script, "MODELS", {"b": {"depth": 1}, "a": {}})
    monkeypatch.setattr(docs_script, "row", lambda name, options: [name, str(len(options)), "", "", "", "yes"])
    head, line, *rows = docs_script.table().splitlines()
    assert head == "| model | pixels | layer | grid | layout | a marked cell is found again |"
    assert line == "| --- | --- | --- | --- | --- | --- |"
    assert rows == ["| a | 0 |  |  |  | yes |", "| b | 1 |  |  |  | yes |"]


@of("timm_table")
def test_a_refusal_has_its_row(docs_script, monkeypatch):
    model = nn.Conv2d(3, 4, 8)
    model.pretrained_cfg = {"input_size": (3, 16, 16), "architecture": "odd"}
    monkeypatch.setattr(docs_script.timm, "create_model", lambda *_, **__: model)
    reason = "timm's odd does not give its features on a grid over the image (forward_intermediates)"
    assert docs_script.row("odd", {}) == ["`odd`", "16", "refused", "", "", reason]
