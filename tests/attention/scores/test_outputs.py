"""What is read from a model's output."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from mmgrad_explain.attention.scores.outputs import as_tensor, normalize


def vectors(batch=3, width=4, seed=0):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed)).double()


class TestAsTensor:
    value = torch.zeros(2, 3)

    @pytest.mark.parametrize("name", ["pooler_output", "image_embeds", "embedding", "last_hidden_state"])
    def test_fields(self, name):
        assert as_tensor(SimpleNamespace(**{name: self.value})) is self.value
        assert as_tensor({name: self.value}) is self.value
        assert as_tensor(OrderedDict([("other", None), (name, self.value)])) is self.value

    def test_transformers_4_and_5(self):
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        assert as_tensor(self.value) is self.value  # get_image_features in version 4
        hidden = torch.zeros(2, 5, 3)
        five = BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=self.value)
        assert as_tensor(five) is self.value
        assert as_tensor(five.to_tuple()) is hidden

    def test_sequences(self):
        assert as_tensor((self.value, None)) is self.value
        assert as_tensor([None, SimpleNamespace(embedding=self.value)]) is self.value

    @pytest.mark.parametrize("output", ["words", None, {"logits": 1}, SimpleNamespace(logits=torch.zeros(1)), ()])
    def test_names_the_type_it_saw(self, output):
        with pytest.raises(TypeError, match=f"model's output is a {type(output).__name__} without a tensor"):
            as_tensor(output)


def test_normalize_is_smooth_at_zero():
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(normalize(zero).sum(), zero, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), zero)
    assert slope.isfinite().all()
    assert curve.isfinite().all()
    vector = vectors()
    assert torch.allclose(normalize(vector), functional.normalize(vector), atol=1e-12)
