"""Operations without a second derivative: told when the maps are made, not in the backward pass of a loss on them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.calls import training_step as attending
from mmgrad_explain.errors import GradientError


def squaring(backward):
    """A function of one's own that squares, and whose first derivative is right."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.kept = x
        return x * x

    parts = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Squaring", (torch.autograd.Function,), parts).apply


def without_graph(ctx, gradient):
    with torch.no_grad():
        return 2 * ctx.saved_tensors[0] * gradient


def with_numpy(ctx, gradient):
    return torch.from_numpy(np.multiply(2 * ctx.saved_tensors[0].detach().numpy(), gradient.detach().numpy()))


BROKEN = {
    "marked": squaring(once_differentiable(lambda ctx, gradient: 2 * ctx.saved_tensors[0] * gradient)),
    "detached result": squaring(lambda ctx, gradient: (2 * ctx.saved_tensors[0] * gradient).detach()),
    "detached input": squaring(lambda ctx, gradient: 2 * ctx.saved_tensors[0].detach() * gradient),
    "detached attribute": squaring(lambda ctx, gradient: 2 * ctx.kept.data * gradient),
    "no_grad": squaring(without_graph),
    "numpy": squaring(with_numpy),
}


class Rectified(torch.autograd.Function):
    """Its second derivative is zero."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class Rounded(torch.autograd.Function):
    """Passes the gradient straight through."""

    @staticmethod
    def forward(_ctx, x):
        return x.round()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


class Doubled(torch.autograd.Function):
    """Marked, and linear: what comes of it is right as long as its gradient is constant."""

    @staticmethod
    def forward(_ctx, x):
        return 2 * x

    @staticmethod
    @once_differentiable
    def backward(_ctx, gradient):
        return 2 * gradient


FINE = {
    "squaring": squaring(lambda ctx, gradient: 2 * ctx.saved_tensors[0] * gradient),
    "rectified": Rectified.apply,
    "rounded": Rounded.apply,
    "of torch": functional.gelu,
    "normalized": lambda x: functional.layer_norm(x, (4,)),
}


class Net(nn.Module):
    def __init__(self, operation, after):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 4, stride=4), nn.Linear(4, 3)
        self.operation, self.after = operation, after

    def forward(self, x):
        pooled = self.operation(self.body(x)).mean((2, 3))
        return {"nothing": pooled, "linear": self.head(pooled), "more": self.head(pooled).tanh()}[self.after]


def attend(zoo, operation, after, **options):
    model = zoo.build(lambda: Net(operation, after))
    mmgrad = MMGrad(model, "body", **options)
    with mmgrad.capture(math_attention=False) as seen:
        output = model(zoo.pictures(2, (16, 16)))
    return model, lambda graph=True: mmgrad.attend(output[:, 0], seen, create_graph=graph, relu=False)


@pytest.mark.parametrize("after", ["nothing", "linear", "more"])
@pytest.mark.parametrize("operation", BROKEN.values(), ids=BROKEN)
def test_your_own_functions(zoo, operation, after):
    """Also where nothing would be raised later, and the loss would train on half a gradient."""
    _, maps = attend(zoo, operation, after)
    for _ in range(2):
        with pytest.raises(GradientError, match=r"Squaring cannot be differentiated twice, its backward .*: write its"):
            maps()
    assert maps(graph=False).shape == (2, 4, 4), "a first derivative there is"


@pytest.mark.parametrize("after", ["nothing", "linear", "more"])
@pytest.mark.parametrize("operation", FINE.values(), ids=FINE)
def test_what_can_be_differentiated_is_let_through(zoo, operation, after):
    model, maps = attend(zoo, operation, after)
    maps().square().sum().backward()
    assert model.body.weight.grad.abs().max() > 0


def test_a_marked_function_that_is_linear(zoo):
    attend(zoo, Doubled.apply, "nothing")[1]().sum().backward()
    with pytest.raises(GradientError, match="Doubled cannot be differentiated twice, its backward is marked"):
        attend(zoo, Doubled.apply, "more")[1]()


def bags(x):
    return functional.embedding_bag(torch.arange(16)[None], x[0].flatten(1).t(), mode="sum")[:, :, None, None]


def regions(x):
    torchvision = pytest.importorskip("torchvision")
    return torchvision.ops.roi_align(x, torch.tensor([[0, 0.0, 0.0, 3.0, 3.0], [1, 0.0, 0.0, 3.0, 3.0]]), 2)


@pytest.mark.parametrize(
    ("operation", "name"),
    [(regions, "double backwards on roi_align not supported"), (bags, "the derivative for '_embedding_bag_backward'")],
)
def test_kernels(zoo, operation, name):
    model = zoo.build(lambda: Net(operation, "more"))
    mmgrad = MMGrad(model, "body")
    x = zoo.pictures(2 if operation is regions else 1, (16, 16))
    with mmgrad.capture() as seen:
        output = model(x)
    with pytest.raises(GradientError, match=rf"cannot be differentiated twice \({name}.*without create_graph=True"):
        mmgrad.attend(output[:, 0], seen, create_graph=True)
    assert mmgrad.attend(output[:, 0], seen).shape == (len(x), 4, 4), "the way out"


def test_it_is_looked_for_once_for_each_kind_of_graph(zoo, monkeypatch):
    """An ordinary step does not pay for it; attention that is left alone is another kind."""
    checks = []
    check = attending.check_twice_differentiable
    monkeypatch.setattr(attending, "check_twice_differentiable", lambda *given: checks.append(1) or check(*given))
    model = zoo.build(zoo.ViT)
    mmgrad, x = MMGrad(model, "blocks.0"), zoo.pictures()
    for _ in range(2):
        with mmgrad.capture() as seen:
            output = model(x)
        mmgrad.attend(output[:, 1], seen, create_graph=True)
    assert len(checks) == 1
    with mmgrad.capture(math_attention=False) as seen:
        output = model(x)
    with pytest.raises(GradientError, match="gradient of fused attention cannot be differentiated again"):
        mmgrad.attend(output[:, 1], seen, create_graph=True)


@pytest.mark.parametrize(
    ("options", "maker"),
    [
        ({"weighting": lambda a, g: (a * g).sum(1).detach()}, "method '<lambda>'"),
        ({"weighting": "layercam", "target_layers": ["body", "body"], "fuse": lambda maps: maps.sum(0).data}, None),
    ],
)
def test_maps_without_a_gradient(zoo, options, maker):
    model = zoo.build(lambda: Net(torch.tanh, "more"))
    if maker is None:
        model.second = nn.Conv2d(4, 4, 1)
        model.operation = model.second
        options = {**options, "target_layers": ["body", "second"]}
    mmgrad = MMGrad(model, **{"target_layers": "body", **options})
    with mmgrad.capture() as seen:
        output = model(zoo.pictures(2, (16, 16)))
    with pytest.raises(GradientError, match=f"would train nothing, because {maker or 'fuse='} returns them without"):
        mmgrad.attend(output[:, 0], seen, create_graph=True)
    assert not mmgrad.attend(output[:, 0], seen).requires_grad


def test_gradients_are_off(zoo):
    _, maps = attend(zoo, torch.tanh, "more")
    with (
        torch.no_grad(),
        pytest.raises(GradientError, match=r"are off here \(torch.no_grad\): call attend outside"),
    ):
        maps()
    assert maps().requires_grad
