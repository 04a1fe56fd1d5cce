"""Which layers and methods a calibration compares."""

import pytest
from torch import nn

from mmgrad_explain.attention.calibration.contenders import KNOW_NO_TEXT, list_methods, list_parts, spread_layers
from mmgrad_explain.attention.layers.candidate import Candidate
from mmgrad_explain.attention.layouts.layout import Layout
from mmgrad_explain.attention.methods.named import METHODS
from mmgrad_explain.errors import InputError


def candidate(name, grid=(8, 8), layout=None, **changes):
    fields = {"type": "X", "channels": 4, "calls": 1, "gradient_reaches": True, "mixes_text": False} | changes
    return Candidate(name=name, grid=grid, layout=layout or Layout("nchw"), **fields)


def test_by_default_methods_that_read_the_text_in_one_forward():
    names = [method.name for method in list_methods(None)]
    assert {"gradcam", "layercam", "hirescam", "legrad"} <= set(names) <= set(METHODS)
    assert not set(names) & {"occlusion", "rise", "integrated-gradients", *KNOW_NO_TEXT}


def test_one_method_needs_no_list():
    assert [method.name for method in list_methods("layercam")] == ["layercam"]


def test_methods_that_are_named_are_taken_whatever_they_need():
    assert [method.name for method in list_methods(["rise", "layercam"])] == ["rise", "layercam"]
    with pytest.raises(InputError, match="did you mean 'layercam'"):
        list_methods(["layercan"])


def test_stages_of_a_pyramid_are_all_there_the_deepest_most():
    found = [candidate(f"stage{side}.{block}", (side, side)) for side in (32, 16, 8) for block in range(9)]
    chosen = spread_layers(found, {})
    assert len(chosen) == 8
    assert chosen[-1] == "stage8.8"
    assert [sum(name.startswith(f"stage{side}.") for name in chosen) for side in (32, 16, 8)] == [2, 2, 4]
    assert "stage16.8" in chosen
    assert "stage32.8" in chosen


def test_stages_inside_a_trunk_are_no_parts_of_a_block():
    found = [candidate("trunk.0", (32, 32)), candidate("trunk.1", (16, 16)), candidate("trunk.1.conv", (16, 16))]
    found += [candidate("trunk.2", (8, 8)), candidate("trunk", (8, 8))]
    assert spread_layers(found, {}) == ["trunk.0", "trunk.1", "trunk"]


def test_layers_of_one_grid_are_spread_evenly():
    tokens = Layout("tokens", (8, 8), 1)
    found = [candidate(f"blocks.{block}", layout=tokens) for block in range(24)]
    assert spread_layers(found, {}) == [f"blocks.{block}" for block in range(2, 24, 3)]


def test_of_a_block_its_norms_and_itself_count():
    tokens = Layout("tokens", (8, 8), 1)
    names = ("blocks.0.norm1", "blocks.0.mlp.fc1", "blocks.0.mlp", "blocks.0")
    found = [candidate(name, layout=tokens) for name in names]
    modules = {"blocks.0.norm1": nn.LayerNorm(4), "blocks.0.mlp.fc1": nn.Linear(4, 4)}
    assert spread_layers(found, modules) == ["blocks.0.norm1", "blocks.0"]
    in_a_cnn = [candidate(name) for name in names]
    assert spread_layers(in_a_cnn, modules) == ["blocks.0"]


def test_what_suits_no_map_is_left_out_but_not_the_models_own_layer():
    found = [
        candidate("text", mixes_text=True), candidate("gate", channels=1), candidate("cut", gradient_reaches=False),
        candidate("good"), candidate("own", (2, 2), chosen=True),
    ]  # fmt: skip
    assert spread_layers(found, {}) == ["good", "own"]


def test_a_method_without_a_layer_stands_once():
    parts = list_parts(["a", "b"], list_methods(["layercam", "legrad"]))
    assert [part.name for part in parts] == ["layercam at a", "layercam at b", "legrad"]
