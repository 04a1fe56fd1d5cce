"""Methods that read the embeddings alone: each equation and each map written out once more; missing inputs."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain.composers.fusion.methods import Fusion, MethodImages, MethodTexts, Sizes
from mmgrad_explain.composers.fusion.registry import build_fusion

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)
_SPEC = importlib.util.spec_from_file_location("equations", Path(__file__).with_name("equations.py"))
equations = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(equations)


@pytest.mark.parametrize("method", ["combiner", "inversion", "tirg"], indirect=True)
def test_the_equation(composer, method, inputs, saved):
    equations.check_equation(method, composer, saved("clip")[1], inputs)


@pytest.mark.parametrize("method", ["combiner", "inversion", "tirg"], indirect=True)
@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("score", ["shift", "similarity"])
def test_the_map_is_plain_grad_cam(composer, method, inputs, saved, score):
    equations.check_map(method, composer, saved("clip")[1], inputs, score)


def test_a_method_says_what_it_lacks():
    film_ = build_fusion("film", Sizes(8, 8, 8), {"width": 8})
    with pytest.raises(TypeError, match="the images or texts lack an input of this method; see its reads"):
        film_(MethodImages(torch.rand(1, 8)), MethodTexts(torch.ones(1, 2).bool(), torch.rand(1, 8)))
    with pytest.raises(NotImplementedError):
        Fusion()(MethodImages(torch.rand(1, 8)), MethodTexts(torch.ones(1, 2).bool()))
