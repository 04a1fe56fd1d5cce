"""Layers that return several grids: feature pyramids and extractors of stages."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.errors import CaptureError, InputError

RED = torch.tensor([[0]])


def picture():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def answer(grid, colour):
    """Compute the mean of one colour."""
    return grid.mean((2, 3)).gather(1, colour)[:, 0]


class Stages(nn.Module):
    """Three stages, each of half the cells; all are handed on."""

    def __init__(self, kind=list):
        super().__init__()
        self.kind = kind
        self.stages = nn.ModuleList(nn.Sequential(nn.AvgPool2d(side), nn.ReLU()) for side in (4, 2, 2))

    def forward(self, x):
        given = []
        for stage in self.stages:
            x = stage(x)
            given.append(x)
        return {f"p{index}": one for index, one in enumerate(given)} if self.kind is dict else self.kind(given)


class Pyramid(nn.Module):
    """A score of some of the stages."""

    def __init__(self, weights, kind=list):
        super().__init__()
        self.features, self.weights = Stages(kind), weights

    def forward(self, x, colour):
        given = self.features(x)
        given = given.values() if isinstance(given, dict) else given
        return sum(w * answer(one, colour) for w, one in zip(self.weights, given, strict=True) if w)


class Closed(Pyramid):
    """Stages with a share of 0 stay in the graph, as behind a gate that learning has not opened yet."""

    def forward(self, x, colour):
        return sum(w * answer(one, colour) for w, one in zip(self.weights, self.features(x), strict=True))


class TestSeveralGrids:
    @pytest.mark.parametrize(("kind", "key"), [(list, "2"), (tuple, "2"), (dict, "p2")])
    def test_the_stage_that_is_used(self, kind, key):
        model = Pyramid((0, 0, 1), kind)
        mmgrad = MMGrad(model)
        assert mmgrad(picture(), RED).maps.shape == (1, 4, 4)
        assert mmgrad.layer_names == ("features",), "the one part that the score uses needs no number"
        named = MMGrad(model, f"features[{key}]")(picture(), RED)
        assert torch.equal(named.maps, mmgrad(picture(), RED).maps)

    def test_parts_are_listed(self):
        found = candidate_layers(Pyramid((1, 0, 1)), picture(), RED)
        assert {one.name: one.grid for one in found if one.name.startswith("features[") and one.gradient_reaches} == {
            "features[0]": (16, 16),
            "features[2]": (4, 4),
        }

    def test_two_stages_are_refused_with_the_choices(self):
        with pytest.raises(
            InputError,
            match=r"several layers side by side.*'features\[0\]' 16 x 16 \(.*%\), 'features\[2\]' 4 x 4 \(.*%\); all "
            r"of it passes 'features.stages.0' 16 x 16 before; name one",
        ):
            MMGrad(Pyramid((0.5, 0, 1)))(picture(), RED)

    def test_a_stage_whose_share_is_0(self):
        mmgrad = MMGrad(Closed((0, 0, 1)))
        maps = mmgrad(picture(), RED).maps
        assert mmgrad.layer_names == ("features[2]",)
        assert torch.equal(maps, MMGrad(Pyramid((0, 0, 1)))(picture(), RED).maps)

    def test_a_named_layer_of_several_used_parts(self):
        model = Pyramid((1, 0, 1))
        message = r"layer 'features' gives several grids .* name one: 'features\[0\]' .*16\) or 'features\[2\]' .*4\)"
        with pytest.raises(InputError, match=message):
            MMGrad(model, "features")(picture(), RED)
        mmgrad = MMGrad(model, "features")
        with mmgrad.capture() as seen:
            score = model(picture(), RED)
        with pytest.raises(InputError, match=message):
            mmgrad.attend(score, seen)
        assert MMGrad(model, "features[-1]")(picture(), RED).maps.shape == (1, 4, 4)

    def test_in_training_the_used_part_is_taken(self):
        model = Pyramid((0, 1, 0), dict)
        mmgrad = MMGrad(model, "features")
        with mmgrad.capture() as seen:
            score = model(picture().requires_grad_(), RED)
        assert mmgrad.attend(score, seen, create_graph=True).shape == (1, 8, 8)
        quoted = MMGrad(model, "features['p1']")(picture(), RED)
        torch.testing.assert_close(quoted.maps, mmgrad(picture(), RED).maps)

    def test_no_such_part(self):
        with pytest.raises(CaptureError, match=r"layer 'features' has no part \[5\]: it has \[0\], \[1\], \[2\]"):
            MMGrad(Pyramid((1, 0, 1)), "features[5]")(picture(), RED)
        with pytest.raises(CaptureError, match=r"has no part \[0\]: it gives one tensor; name the layer alone"):
            MMGrad(Pyramid((1, 0, 1)), "features.stages.0[0]")(picture(), RED)

    def test_several_parts_fused(self):
        made = MMGrad(Pyramid((1, 0, 1)), ["features[0]", "features[2]"])(picture(), RED)
        assert made.grids == {"features[0]": (16, 16), "features[2]": (4, 4)}
