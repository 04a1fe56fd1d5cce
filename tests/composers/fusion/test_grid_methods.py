"""Methods that read the patches: each equation and each map written out once more."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain.composers.fusion.methods import MethodImages, MethodTexts, Sizes
from mmgrad_explain.composers.fusion.registry import build_fusion

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)
_SPEC = importlib.util.spec_from_file_location("equations", Path(__file__).with_name("equations.py"))
equations = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(equations)


@pytest.mark.parametrize("method", ["cross-attention", "film", "qformer", "tirg-spatial"], indirect=True)
def test_the_equation(composer, method, inputs, saved):
    equations.check_equation(method, composer, saved("clip")[1], inputs)


@pytest.mark.parametrize("method", ["cross-attention", "film", "qformer", "tirg-spatial"], indirect=True)
@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("score", ["shift", "similarity"])
def test_the_map_is_plain_grad_cam(composer, method, inputs, saved, score):
    equations.check_map(method, composer, saved("clip")[1], inputs, score)


@pytest.mark.parametrize("method", ["cross-attention"], indirect=True)
def test_words_can_ask(method, inputs, saved):
    folder, model = saved("clip")
    composer = small_towers.compose(folder, method, asks="words")
    composed, _, _, _ = equations.by_hand(
        method, composer, model, inputs["pixel_values"], small_towers.TEXTS, asks="words"
    )
    torch.testing.assert_close(composer(**inputs).embedding, composed, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["film", "tirg-spatial"])
def test_a_change_in_one_samples_patch_leaves_the_others_alone(name):
    torch.manual_seed(0)
    fusion = build_fusion(name, Sizes(6, 4), {"width": 8}).eval()
    images = MethodImages(torch.rand(2, 6), torch.rand(2, 4, 3, 5))
    texts = MethodTexts(torch.ones(2, 1).bool(), torch.rand(2, 6))
    both = fusion(images, texts)
    changed = images._replace(grid=images.grid.clone())
    changed.grid[0, :, 1, 2] += 1
    moved = fusion(changed, texts)
    assert (moved[0] - both[0]).abs().max() > 1e-4
    torch.testing.assert_close(moved[1], both[1])


def test_padding_of_a_text_is_not_read():
    torch.manual_seed(0)
    fusion = build_fusion("cross-attention", Sizes(6, 4, 5), {"width": 8, "heads": 2}).eval()
    images = MethodImages(torch.rand(1, 6), torch.rand(1, 4, 2, 2))
    words = torch.rand(1, 3, 5)
    texts = MethodTexts(torch.tensor([[True, True, False]]), words=words)
    expected = fusion(images, texts)
    words[:, 2] = 7
    torch.testing.assert_close(fusion(images, texts), expected)
    words[:, 1] = 7
    assert (fusion(images, texts) - expected).abs().max() > 1e-4
