"""Layouts of what was recorded: inferred once, or with a misfit that names the layer."""

import pytest
import torch
from torch.nn import functional

from mmgrad_explain.attention import MMGrad


@pytest.fixture
def model(zoo):
    return zoo.build(zoo.TwoInput)


def first(output):
    return output.embedding[:, 0]


def test_a_layout_is_inferred_once_for_each_kind_of_input(zoo, model, x, monkeypatch):
    from mmgrad_explain.attention.places import record_layouts

    asked = []
    infer = record_layouts.infer_layout
    monkeypatch.setattr(record_layouts, "infer_layout", lambda *a, **k: asked.append(k["image_size"]) or infer(*a, **k))
    mmgrad = MMGrad(model, "tower.body", first)
    again = [mmgrad(x, zoo.ids()).maps for _ in range(2)]
    assert torch.equal(*again)
    mmgrad(x[:1], zoo.ids()[:1])
    assert len(asked) == 1
    taller = functional.interpolate(x, scale_factor=(2.0, 1.0))
    assert mmgrad(taller, zoo.ids()).maps.shape == (2, 8, 6)
    assert asked == [tuple(x.shape[2:]), tuple(taller.shape[2:])]
