"""BLIP's two towers, and the queries of BLIP-2."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import explain
from mmgrad_explain.attention import MMGrad

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


@pytest.mark.parametrize("kind", ["blip"], indirect=True)
def test_blips_towers_can_be_asked_apart(loaded, picture):
    composer, model = loaded
    inputs = composer.preprocess([picture], small.TEXTS[:1]).tensors
    explanation = MMGrad(composer, score="image-text", target_layers="model.vision_model.encoder.layers.0")(**inputs)
    names = ("pixel_values", "input_ids", "attention_mask")
    expected = model(**{name: inputs[name] for name in names}, use_itm_head=False).itm_score[0]
    torch.testing.assert_close(explanation.score, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["blip-2"], indirect=True)
def test_blip2s_cosine_is_that_of_its_nearest_query(loaded, picture):
    composer, model = loaded
    pictures = [picture, picture.rotate(180)]
    explanation = explain(pictures, small.TEXTS, model=composer, score="image-text", method="gradcam")
    inputs = composer.preprocess(pictures, small.TEXTS).tensors
    layer, outputs = model.vision_model.post_layernorm, []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    score = model(**inputs, use_image_text_matching_head=False).logits_per_image.diagonal()
    handle.remove()
    (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    expected = (
        small.on_grid(gradient, 1, (4, 4)).mean((2, 3), keepdim=True) * small.on_grid(outputs[0], 1, (4, 4))
    ).sum(1)
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    top = expected.abs().max()
    signed = explanation.signed[composer.target_layer][0]
    torch.testing.assert_close(signed / top, expected.detach() / top, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("blip", "model.vision_model.encoder.layers.1.layer_norm1"),
        ("blip-2", "model.vision_model.post_layernorm"),
        ("clip", "model.vision_model.encoder.layers.1.layer_norm1"),
    ],
    indirect=["kind"],
)
def test_the_layer_at_which_the_embedding_is_explained(loaded, layer):
    """BLIP's embedding is read at the class token alone, BLIP-2's by queries that read all patches."""
    assert loaded[0].embedding_layer == layer
