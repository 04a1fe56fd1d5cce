"""What the viewer sends to the browser."""

import base64
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.overlay import colorize
from mmgrad_explain.images.placement import fit
from mmgrad_explain.notes import Note
from mmgrad_explain.web.viewer import COLORMAP_CHOICES, make_viewer, pack_map, pack_payload


@pytest.fixture
def one(picture, explanation_of, words):
    return explanation_of([picture], ["make it red"], words=(words,), notes=(Note("caution", "mind the gap"),))


def heat_of(packed):
    width, height = packed["heat"]["size"]
    return np.frombuffer(base64.b64decode(packed["heat"]["levels"]), np.uint8).reshape(height, width)


class TestTile:
    def test_a_small_picture_and_its_heat_come_through_unchanged(self, one, picture, opened):
        packed = json.loads(json.dumps(pack_map(one, title="make it red", action=("Use", {"hit": 3}))))
        assert packed["title"] == "make it red"
        assert np.array_equal(np.asarray(opened(packed["picture"])), np.asarray(picture))
        assert np.array_equal(heat_of(packed), np.rint(one.heatmap() * 255))
        assert (packed["size"], packed["peak"]) == ([60, 40], list(reversed(one.peak())))
        assert packed["score"] == {"name": "shift", "value": 0.25}
        assert (packed["flat"], packed["notes"]) == (False, ["mind the gap"])
        assert packed["meaning"] == one.in_words()
        assert packed["action"] == {"label": "Use", "value": {"hit": 3}}
        assert packed["words"][0] == {
            "text": "make", "value": -0.01, "scaled": -0.5, "ground": "#8caed2", "ink": "#000000"
        }  # fmt: skip

    def test_large_ones_are_scaled(self, picture, explanation_of, opened):
        large = picture.resize((3000, 2000))
        packed = pack_map(explanation_of([large], ["x"]), title="x")
        shown = opened(packed["picture"])
        assert (shown.format, shown.size, packed["size"]) == ("JPEG", (1024, 683), [3000, 2000])
        assert heat_of(packed).shape == (171, 256)
        assert np.abs(np.asarray(shown, int) - np.asarray(large.resize((1024, 683), 1), int)).mean() < 3

    def test_a_thin_picture_keeps_a_pixel(self, picture, explanation_of, opened):
        thin = picture.resize((4000, 1))
        assert opened(pack_map(explanation_of([thin], ["x"]), title="x")["picture"]).size == (1024, 1)

    def test_a_flat_map_says_so_and_leaves_out_the_other_tiles(self, picture, explanation_of):
        maps = torch.stack([torch.zeros(4, 6), torch.rand(4, 6)])
        both = explanation_of([picture] * 2, ["x", "y"], maps, notes=(Note("flat-map", "it is flat", (0,)),))
        flat, other = pack_map(both, 0, title="x"), pack_map(both, 1, title="y")
        assert (flat["flat"], flat["peak"], flat["notes"], flat["action"]) == (True, None, [], None)
        assert (other["flat"], other["words"], other["notes"]) == (False, None, [])
        assert not heat_of(flat).any()

    def test_a_target_has_its_own_picture_and_no_words(self, one, picture):
        target = picture.resize((30, 30))
        second = torch.zeros(1, 4, 6)
        second[0, 3, 5] = 1
        placement = fit(target, (32, 48), "stretch")[1]
        both = replace(one, calls=(one.maps, second), targets=(target,), target_placements=(placement,))
        packed = pack_map(both, target=True, title="target")
        assert (packed["size"], packed["words"]) == ([30, 30], None)
        assert packed["peak"] == list(reversed(both.peak(target=True)))
        assert packed["meaning"] == both.in_words(target=True)
        with pytest.raises(InputError, match="explanation: it has no target pictures to show its maps on"):
            pack_map(replace(both, targets=None), target=True, title="target")

    def test_the_peak_of_a_map_on_another_grid_is_on_the_picture(self, one):
        maps = torch.zeros(1, 4, 6)
        maps[0, 0, 5] = 1
        assert pack_map(replace(one, calls=(maps,), placements=None, input_size=None), title="x")["peak"] == [55, 5]

    def test_pictures_are_needed(self, one):
        with pytest.raises(InputError, match="explanation: it has no pictures to show its maps on"):
            pack_map(replace(one, images=None), title="x")
        with pytest.raises(InputError, match="index must be below 1"):
            pack_map(one, 1, title="x")


class TestPayload:
    def test_tables_are_those_of_colorize(self):
        packed = json.loads(json.dumps(pack_payload([], data={"a": 1}, snippet="pass", colormap="magma")))
        assert list(packed["tables"]) == ["magma", *COLORMAP_CHOICES]
        for name, table in packed["tables"].items():
            colours = np.frombuffer(base64.b64decode(table), np.uint8).reshape(256, 3)
            assert np.array_equal(colours, colorize(np.arange(256, dtype=np.uint8)[None], name)[0])
        assert (packed["tiles"], packed["data"], packed["snippet"], packed["colormap"]) == (
            [],
            {"a": 1},
            "pass",
            "magma",
        )

    def test_an_unknown_colormap(self):
        with pytest.raises(InputError, match="unknown colormap 'turbp': try turbo"):
            pack_payload([], data={}, snippet="", colormap="turbp")


def test_gradio_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(
        InputError, match=r'needs Gradio, which cannot be imported .*: pip install "mmgrad-explain\[demo\]"'
    ):
        make_viewer()
