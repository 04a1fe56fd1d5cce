"""Blocks of an image's tower are computed once for all texts, where a method does not look at them."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.calls.one_call import explain_call
from mmgrad_explain.attention.calls.shared_blocks import sharing


@pytest.mark.parametrize(("method", "computed_once"), [("grad-eclip", True), ("relevancy", False), ("layercam", False)])
@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_maps_are_those_of_every_text_by_itself(zoo, same_maps, method, computed_once):
    model = zoo.clip()
    mmgrad = MMGrad(model, method=method)
    ids, pixels = zoo.ids(3), zoo.pictures(1, (32, 32)).expand(3, -1, -1, -1)
    alone = mmgrad(input_ids=ids, pixel_values=pixels)
    rows = []
    handle = model.vision_model.encoder.layers[0].mlp.register_forward_hook(lambda *a: rows.append(len(a[2])))
    inputs = {"input_ids": ids, "pixel_values": pixels}
    together = explain_call(mmgrad.settings, (), inputs, of_one_image=3)
    handle.remove()
    same_maps(together.maps, alone.maps)
    assert rows == ([1] if computed_once else [3])
    assert "forward" not in model.vision_model.encoder.layers[0].__dict__


def test_rows_that_differ_are_all_computed():
    """Also where what looks like samples are tokens."""
    layer, generator = nn.Linear(4, 4), torch.Generator().manual_seed(0)
    equal, other = (
        torch.randn(1, 5, 4, generator=generator).expand(3, -1, -1),
        torch.randn(3, 5, 4, generator=generator),
    )
    rows = []
    expected, wanted = layer(equal), layer(other)
    real = layer.forward
    layer.forward = lambda x: (rows.append(len(x)), real(x))[1]
    own = layer.forward
    with sharing([layer], 3):
        torch.testing.assert_close(layer(equal), expected)
        torch.testing.assert_close(layer(other), wanted)
    assert rows == [1, 3]
    assert layer.forward is own
