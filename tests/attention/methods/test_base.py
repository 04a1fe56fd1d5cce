"""What a method says that it needs."""

import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.base import Method, MethodMaps, Needs


def test_layers_alone():
    assert Needs(layers=True).of_layers_alone
    assert not Needs(layers=True, reruns=True).of_layers_alone
    assert not Needs(layers=True, attention=list).of_layers_alone
    assert not Needs(attention=list).of_layers_alone


class Brightness:
    """A method written as the protocol says: the activation's mean over channels, without a gradient."""

    name = "brightness"
    differentiable = False
    needs = Needs(layers=True, gradient=False)

    def maps(self, run):
        records = run.seen.calls("late")
        return MethodMaps({"late": [record.activation.mean(1) for record in records]}, {"late": ["as it is"]})


def test_a_method_of_ones_own(zoo, cnn, x):
    assert isinstance(Brightness(), Method)
    made = MMGrad(cnn, "late", zoo.class_score(), Brightness())(x)
    assert made.method == "brightness"
    assert made.layouts == {"late": ("as it is",)}
    expected = cnn.eval().features(x).mean(1).relu()
    assert torch.allclose(made.maps, expected, atol=1e-5)
