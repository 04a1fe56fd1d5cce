"""The layer of a vision tower is found by running the tower."""

import pytest
from torch import nn

from mmgrad_explain.composers.towers.timm_layers import find_grid_layer
from mmgrad_explain.errors import InputError


class Silent(nn.Module):
    """Says nothing of its features."""

    def __init__(self, width=3):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 8, 8)

    def forward(self, pixels):
        return self.convolution(pixels).mean((2, 3))


class Elsewhere(Silent):
    """Its last features come from no layer, or from one that the embedding does not depend on."""

    def __init__(self, *, same):
        super().__init__()
        self.same = same

    def forward_intermediates(self, pixels, **_):
        features = self.convolution(pixels)
        return [features if self.same else features + 1]

    def forward(self, pixels):
        return self.convolution(pixels).detach().mean((2, 3)) + self.convolution.bias


class Unpooled(Elsewhere):
    def forward(self, pixels):
        return self.convolution(pixels)


class Particular(Silent):
    """Has no norm to ask for, a layer that gives a mapping, and one that hands on what it gets."""

    def __init__(self):
        super().__init__()
        self.named, self.switch = Named(), Handed()

    def forward_intermediates(self, pixels, *, norm, **_):
        assert not norm
        return [self.switch(self.convolution(pixels))]

    def forward(self, pixels):
        return self.named(self.switch(self.convolution(pixels)))["pooled"]


class Named(nn.Module):
    def forward(self, features):
        return {"pooled": features.mean((2, 3))}


class Handed(nn.Module):
    def forward(self, features):
        return features


def test_an_activation_in_place_is_a_layer():
    tower = Elsewhere(same=True)
    tower.convolution = nn.Sequential(nn.Conv2d(3, 3, 8, 8), nn.ReLU(inplace=True))
    tower.forward = lambda pixels: tower.convolution(pixels).mean((2, 3))
    assert find_grid_layer(tower, (32, 24))[0].name == "convolution.1"


def test_layers_that_say_nothing_are_passed_over():
    tower = Particular().requires_grad_(False)
    layer, width = find_grid_layer(tower, (32, 24))
    assert (layer.name, layer.kind, layer.grid, width) == ("convolution", "nchw", (4, 3), 3)


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        (Silent(), r"timm's Silent does not give its features on a grid over the image \(forward_intermediates\)"),
        (Elsewhere(same=False), "timm's Elsewhere: none of its layers outputs its last features on their"),
        (Elsewhere(same=True), "timm's Elsewhere: its embedding depends on no layer with a grid over the image"),
        (Unpooled(same=True), "timm's Unpooled gives no single embedding for an image: a pooling is needed"),
    ],
)
def test_towers_whose_layer_cannot_be_found_are_refused(tower, message):
    with pytest.raises(InputError, match=message):
        find_grid_layer(tower, (32, 32))
