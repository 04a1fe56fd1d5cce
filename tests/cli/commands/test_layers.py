"""``mmgrad-explain layers`` from the shell's side."""

import json

import pytest

from mmgrad_explain.cli.known_names import bundled_layers
from mmgrad_explain.composers.load import BUNDLED


def test_layers(run):
    code, out, err = run("layers")
    assert (code, err) == (0, "")
    assert all(f" {layer} " in out for layer in bundled_layers("reference"))
    chosen = [line for line in out.splitlines() if line.startswith("*")]
    assert len(chosen) == 1
    assert chosen[0].split()[1:4] == ["network.features", "Identity", "24x24"]
    assert any("network.visual.layer3" in line and "6x6" in line for line in out.splitlines())


@pytest.mark.parametrize("name", BUNDLED[1:])
def test_layers_of_the_other_bundled_models(run, name):
    listed = {row["name"] for row in json.loads(run("layers", "--model", name, "--json")[1])}
    assert set(bundled_layers(name)) <= listed


def test_layers_as_json(run, tiny_folder):
    code, out, _ = run("layers", "--model", str(tiny_folder), "--json")
    found = json.loads(out)
    assert code == 0
    assert [c["name"] for c in found if c["chosen"]] == ["network.features"]
    assert {"name", "type", "grid", "channels", "layout", "calls", "gradient_reaches", "mixes_text"} <= set(found[0])


def test_layers_of_no_model(run):
    code, _, err = run("layers", "--model", "referense")
    assert code == 2
    assert "did you mean" in err
