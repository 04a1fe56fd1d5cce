"""Several methods from one forward, and one map fused from them."""

import pytest
import torch

from mmgrad_explain import InputError, MMGrad
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.methods.fused import Fused, Part, SeveralMethods, geometric_mean
from mmgrad_explain.attention.methods.named import ensure_method


@pytest.fixture
def parts():
    return tuple(Part(ensure_method(name), layer) for name, layer in (("layercam", "early"), ("hirescam", "late")))


def test_the_geometric_mean_needs_all_maps():
    first = torch.tensor([[[1.0, 1.0], [0.0, 0.5]]])
    second = torch.tensor([[[2.0, 0.0], [2.0, 0.5]]])
    fused = geometric_mean([first, second])
    assert float(fused[0, 0, 0]) == pytest.approx(1, abs=1e-3)
    assert float(fused[0, 1, 1]) == pytest.approx((0.5 * 0.25) ** 0.5, abs=2e-3)
    assert fused[0, 0, 1] < 0.05
    assert fused[0, 1, 0] < 0.05


def test_maps_of_different_grids_meet_on_the_finest():
    assert geometric_mean([torch.rand(2, 3, 5), torch.rand(2, 6, 10)]).shape == (2, 6, 10)
    assert geometric_mean([torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)]).abs().max() < 1e-6


def test_every_part_has_the_map_that_it_has_alone(zoo, cnn, x, parts):
    several = SeveralMethods(parts)
    made = MMGrad(cnn, several.layers, zoo.class_score(), several)(x)
    for part in parts:
        alone = MMGrad(cnn, part.layer, zoo.class_score(), part.method)(x)
        assert torch.allclose(made.signed[part.name][0], alone.signed[part.layer][0], atol=1e-6)


def test_the_fused_map_is_the_geometric_mean_of_the_parts(zoo, cnn, x, parts):
    fused = MMGrad(cnn, ["early", "late"], zoo.class_score(), Fused(parts))(x)
    maps = [MMGrad(cnn, part.layer, zoo.class_score(), part.method)(x).maps for part in parts]
    assert torch.allclose(fused.maps, geometric_mean(maps), atol=1e-5)
    assert fused.method == "layercam at early + hirescam at late"
    assert "fused of 2 maps" in fused.layouts["fused"][0]


def test_it_can_be_trained(zoo, cnn, x, parts):
    mmgrad = MMGrad(cnn, ["early", "late"], zoo.class_score(), Fused(parts))
    with mmgrad.capture() as seen:
        output = cnn(x)
    maps = mmgrad.attend(zoo.class_score()(output), seen, create_graph=True)
    maps.sum().backward()
    assert cnn.early.weight.grad.abs().sum() > 0


class Refusing:
    """A method that fits no model."""

    name = "refusing"
    differentiable = False
    needs = Needs(layers=True)

    def maps(self, run) -> MethodMaps:
        raise InputError("method 'refusing': not for this model")


def test_a_part_that_refuses_raises_or_is_noted(zoo, cnn, x, parts):
    with_refusal = (*parts, Part(Refusing(), "late"))
    with pytest.raises(InputError, match="not for this model"):
        MMGrad(cnn, ["early", "late"], zoo.class_score(), SeveralMethods(with_refusal))(x)
    refused = {}
    made = MMGrad(cnn, ["early", "late"], zoo.class_score(), SeveralMethods(with_refusal, refused))(x)
    assert set(made.signed) == {part.name for part in parts}
    assert refused == {"refusing": "method 'refusing': not for this model"}
    assert not SeveralMethods(with_refusal).differentiable
