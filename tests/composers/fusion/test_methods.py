"""A method refuses inputs that lack what it reads."""

import pytest
import torch

from mmgrad_explain.composers.fusion.methods import EncodedImages, EncodedTexts, Fusion, Sizes
from mmgrad_explain.composers.fusion.registry import build_fusion


def test_a_method_says_what_it_lacks():
    film_ = build_fusion("film", Sizes(8, 8, 8), {"width": 8})
    with pytest.raises(TypeError, match="the images or texts lack an input of this method; see its reads"):
        film_(EncodedImages(torch.rand(1, 8)), EncodedTexts(torch.ones(1, 2).bool(), torch.rand(1, 8)))
    with pytest.raises(NotImplementedError):
        Fusion()(EncodedImages(torch.rand(1, 8)), EncodedTexts(torch.ones(1, 2).bool()))
