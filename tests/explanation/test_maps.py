"""The fields of an explanation, and what follows from them alone."""

from dataclasses import replace

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note


def test_properties(explanation):
    assert len(explanation) == 2
    assert explanation.maps is explanation.calls[0]
    assert explanation.layer_names == ("tower.body",)
    assert explanation.grids == {"tower.body": (4, 6)}
    assert repr(explanation) == "Explanation(2 x 4 x 6, 2 calls; gradcam of pair at tower.body)"
    noted = replace(explanation, notes=(Note("caution", "mind the gap"), Note("flat-map", "it is flat", (1,))))
    assert repr(noted).endswith("; note: mind the gap; note: sample 1: it is flat)")
    assert [len(noted.notes_of(index)) for index in (0, 1, -1)] == [1, 2, 2]
    assert noted.manifest()["notes"][1] == {"kind": "flat-map", "text": "it is flat", "samples": [1]}
    with pytest.raises(InputError, match="index must be below 2"):
        noted.notes_of(2)


def test_it_cannot_be_changed(explanation):
    with pytest.raises(AttributeError, match="cannot assign to field 'score_name'"):
        explanation.score_name = "other"


def test_resize(explanation):
    assert explanation.resize((8, 12)).shape == (2, 8, 12)
    assert explanation.resize(10).shape == (2, 10, 10)
    assert torch.equal(explanation.resize((4, 6)), explanation.maps)


def test_to(explanation):
    moved = explanation.to("meta")
    tensors = [*moved.calls, moved.score, moved.flat, moved.clipped, *moved.layers["tower.body"]]
    assert {tensor.device.type for tensor in tensors + moved.signed["tower.body"]} == {"meta"}
    assert explanation.maps.device.type == "cpu"


@pytest.mark.parametrize("index", [2, -3])
def test_no_such_sample(explanation, index):
    with pytest.raises(InputError, match=f"index must be below 2, the number of samples, not {index}"):
        explanation.heatmap(index)
