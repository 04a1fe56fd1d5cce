"""The picture and the sentence that find out what a model can be asked."""

import pytest
import torch

from mmgrad_explain.attention import candidate_layers
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.data import drawn_example as module
from mmgrad_explain.data.drawn_example import example_inputs
from mmgrad_explain.errors import InputError


def test_always_the_same():
    composer = load_composer("clothing")
    one, two = example_inputs(composer), example_inputs(composer)
    assert list(one) == list(two)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert candidate_layers(composer, **one) == candidate_layers(composer, **two)


def test_what_is_made(tiny):
    alone, other, both = example_inputs(tiny), example_inputs(tiny, "make it blue"), example_inputs(tiny, target=True)
    assert "target_pixel_values" not in alone
    assert torch.equal(both["target_pixel_values"], both["pixel_values"])
    assert torch.equal(alone["pixel_values"], other["pixel_values"])
    assert not torch.equal(alone["input_ids"], other["input_ids"])
    assert len(alone["pixel_values"]) == 1


def test_a_model_elsewhere(tiny, monkeypatch):
    monkeypatch.setattr(module, "device_of", lambda composer: torch.device("meta"))
    assert {tensor.device.type for tensor in example_inputs(tiny).values()} == {"meta"}


def test_an_answer(tmp_path):
    composer = load_composer(stand_in("llava", tmp_path / "llava"))
    assert (composer(**example_inputs(composer)).labels >= 0).any()
    with pytest.raises(InputError, match="takes no target image"):
        example_inputs(composer, target=True)
