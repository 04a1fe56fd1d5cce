"""Cells that stand in no grid: shuffled anew at every forward and packed into two dimensions, put in place again."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain import Cells, GradientError, InputError, Layout, MMGrad, candidate_layers
from mmgrad_explain.attention.layouts.layout import describe_layout
from mmgrad_explain.errors import CaptureError

GRID = (2, 3)


class Packed(nn.Module):
    """Patches of all pictures in one (B * 6, K), in an order of their own at every forward."""

    target_layer = "mix"

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 4, 8, stride=8)
        self.mix = nn.Linear(4, 4)
        self.out = nn.Linear(4, 1)
        self.order = None

    def forward(self, pixels, gain):
        patches = self.embed(pixels).flatten(2).transpose(1, 2)
        self.order = torch.stack([torch.randperm(6) for _ in patches])
        rows = patches[torch.arange(len(patches))[:, None], self.order]
        mixed = self.mix(rows.flatten(0, 1)).unflatten(0, (len(pixels), 6))
        return self.out(functional.gelu(mixed * gain[:, None, None]).mean(1))[:, 0]

    def layout_for(self, layer, pixels, gain):
        if layer != "mix":
            return None
        order = self.order

        def read(x):
            return x.unflatten(0, (len(order), 6)).transpose(1, 2)[:, :, None]

        def fold(maps):
            return maps.new_zeros(len(order), 6).scatter(1, order, maps[:, 0]).unflatten(1, GRID)

        return Cells(read, fold, "packed patches")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Packed().eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 16, 24), torch.tensor([1.0, -2.0])


def plain(model, pixels, gain):
    """Grad-CAM on patches in their own order, before the ReLU."""
    mixed = model.mix(model.embed(pixels).flatten(2).transpose(1, 2)).detach().requires_grad_()
    score = model.out(functional.gelu(mixed * gain[:, None, None]).mean(1))[:, 0]
    (gradient,) = torch.autograd.grad(score.sum(), mixed)
    return (gradient.mean(1, keepdim=True) * mixed.detach()).sum(2).unflatten(1, GRID)


def test_put_in_place(model, inputs):
    found = MMGrad(model, method="gradcam")(*inputs)
    torch.testing.assert_close(found.signed["mix"][0], plain(model, *inputs))
    assert found.layouts == {"mix": ("packed patches",)}
    assert found.maps.shape == (2, *GRID)
    named = MMGrad(model, method="gradcam")(inputs[0], gain=inputs[1])
    torch.testing.assert_close(named.maps, found.maps)


def test_in_training(model, inputs):
    mmgrad = MMGrad(model, method="gradcam")
    with mmgrad.capture() as seen:
        score = model(*inputs)
    maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
    torch.testing.assert_close(maps.detach(), plain(model, *inputs))
    maps[0, 1, 1].backward()
    assert model.mix.weight.grad.count_nonzero() > 0


def test_many_texts(model, inputs):
    pixels, gain = inputs[0][:1], torch.tensor([0.5, 1.0, -2.0])

    def encode(pictures):
        patches = model.embed(pictures).flatten(2).transpose(1, 2)
        model.order = torch.randperm(6)[None]
        return model.mix(patches[:, model.order[0]][0])[None]

    def compose(features, gain):
        return model.out(functional.gelu(features * gain[:, None, None]).mean(1))[:, 0]

    def layout_for(layer, pictures, gain):
        assert layer == "mix"
        assert len(pictures) == 1
        assert len(gain) == 3
        order = model.order.expand(3, 6)
        return Cells(
            lambda x: x.unflatten(0, (3, 6)).transpose(1, 2)[:, :, None],
            lambda maps: maps.new_zeros(3, 6).scatter(1, order, maps[:, 0]).unflatten(1, GRID),
        )

    model.layout_for = layout_for
    found = MMGrad(model, score=lambda output: output, method="gradcam").texts(
        pixels, gain, encode=encode, compose=compose
    )
    torch.testing.assert_close(found.signed["mix"][0], plain(model, pixels.expand(3, -1, -1, -1), gain))


def test_listed_among_the_layers(model, inputs):
    found = {one.name: one for one in candidate_layers(model, *inputs)}
    assert found["mix"].chosen
    assert found["mix"].grid == GRID
    assert found["mix"].channels == 4
    assert describe_layout(found["mix"].layout) == "packed patches"
    assert describe_layout(found["embed"].layout) == "nchw"
    model.layout_for = lambda *_: Cells(lambda x: x.flatten(), lambda maps: maps)
    with pytest.raises(GradientError, match="no layer of the model has both a spatial grid and a gradient"):
        MMGrad(Nameless(model))(*inputs)


class Nameless(nn.Module):
    """A model with a ``layout_for`` and no layer of its own."""

    def __init__(self, model):
        super().__init__()
        self.model, self.layout_for = model, model.layout_for

    def forward(self, pixels, gain):
        return self.model(pixels, gain)


def test_given_by_the_user(model, inputs):
    found = MMGrad(model, "embed", layout=Layout("nchw"))(*inputs)
    torch.testing.assert_close(found.maps, MMGrad(model, "embed")(*inputs).maps)
    assert found.layouts == {"embed": ("nchw",)}
    cells = Cells(lambda x: x.flatten(2)[:, :, None], lambda maps: maps.unflatten(2, GRID)[:, 0])
    torch.testing.assert_close(MMGrad(model, "embed", layout=cells)(*inputs).maps, found.maps)


def test_a_call_without_a_gradient_is_empty(model, inputs):
    def of_first(first, second, gain):
        score = model(first, gain)
        model(second, gain)
        return score

    mmgrad = MMGrad(model)
    with mmgrad.capture() as seen:
        score = of_first(inputs[0], inputs[0], inputs[1])
    _, second = mmgrad.attend_all(score, seen)["mix"]
    assert second.shape == (2, *GRID)
    assert second.count_nonzero() == 0


def test_two_dimensions_need_a_layout(inputs):
    class Silent(Packed):
        def layout_for(self, layer, pixels, gain):
            """Have it inferred."""

    with pytest.raises(InputError, match=r"layer 'mix': layout: cannot tell how an output of shape \(12, 4\)"):
        MMGrad(Silent())(*inputs)

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Packed()

        def forward(self, pixels, gain):
            return self.inner(pixels, gain)

    with pytest.raises(CaptureError, match="a map needs a floating tensor with at least 3 dimensions"):
        MMGrad(Bare(), "inner.mix")(*inputs)


def test_what_read_gives_is_checked(model, inputs):
    cells = Cells(lambda x: x, lambda maps: maps)
    with pytest.raises(InputError, match=r"the callable must give \(B, K, h, w\), not \(12, 4\)"):
        MMGrad(model, layout=cells)(*inputs)
    with pytest.raises(GradientError, match="the score does not depend on layer 'mix'"):
        MMGrad(model, score=lambda output: output.detach())(*inputs)
