"""A weighting as a method."""

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.weighted import Weighted
from mmgrad_explain.attention.weighting import WEIGHTINGS


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_it_is_the_weighting_of_activation_and_gradient(zoo, cnn, x, name):
    made = MMGrad(cnn, "late", zoo.class_score(), Weighted(name, WEIGHTINGS[name]))(x)
    cnn.eval()
    activation = cnn.features(x).detach().requires_grad_()
    logits = cnn.head(torch.nn.functional.gelu(activation).mean((2, 3)))
    (gradient,) = torch.autograd.grad(zoo.class_score()(logits).sum(), activation)
    assert torch.allclose(made.signed["late"][0], WEIGHTINGS[name](activation, gradient).detach(), atol=1e-6)
    assert made.method == name


def test_several_share_one_gradient(zoo, cnn, x):
    mmgrad = MMGrad(cnn, "late", zoo.class_score())
    with mmgrad.capture() as seen:
        score = zoo.class_score()(cnn(x))
    both = mmgrad.attend(score, seen, method=["gradcam", "hirescam"])
    for maps, name in zip(both, ("gradcam", "hirescam"), strict=True):
        assert torch.allclose(maps, mmgrad.attend(score, seen, weighting=name), atol=1e-6)
