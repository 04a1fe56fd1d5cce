"""What methods for models that answer in words ask of the model, and how they refuse other models."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.answers.language_model import find_answer_layers, find_positions
from mmgrad_explain.attention.model_hints import AnswerLayers
from mmgrad_explain.errors import InputError


class Half(nn.Linear):
    """Tells its language model, and not where an answer lies."""

    def answer_layers(self):
        return AnswerLayers("text", ("text.layers.0",))


class Whole(Half):
    def answer_positions(self, output, *args, **kwargs):
        return output, args, kwargs


@pytest.mark.parametrize("method", ["token-activation", "relative-attention"])
def test_models_that_do_not_answer_in_words_are_refused(method):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    images = torch.rand(1, 3, 8, 8)
    model(images)
    with pytest.raises(InputError, match=f"method: '{method}' explains models that answer in words .* Sequential does"):
        MMGrad(model, "0", score=lambda output: output[:, 0], method=method)(images)


def test_a_model_that_tells_half():
    assert find_answer_layers(Half(1, 1), "x").hidden == "text"
    with pytest.raises(InputError, match="Half tells its language model, 'text', but has no answer_positions"):
        find_positions(SimpleNamespace(root=Half(1, 1)), "x")


def test_positions_are_asked_with_the_output_and_the_arguments():
    run = SimpleNamespace(root=Whole(1, 1), inputs=((1,), {"a": 2}), output="said")
    assert find_positions(run, "x") == ("said", (1,), {"a": 2})
    with pytest.raises(InputError, match=r"'x' reads the answer of the model's output, which attend\(\) does not have"):
        find_positions(SimpleNamespace(root=Whole(1, 1), inputs=None, output=None), "x")
