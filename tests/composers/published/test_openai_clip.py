"""A CLIP with OpenAI's names: a vision transformer and a ResNet, and files that are something else."""

import open_clip
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.published.openai_clip import model_config, read_openai_clip
from mmgrad_explain.errors import InputError


def test_the_embeddings(clip_file, forwards):
    _, weights = clip_file
    composer = read_openai_clip({"CLIP": weights}, "f", "mine")
    tensors = composer.preprocess([Image.effect_noise((40, 32), 90).convert("RGB")], ["a red dress"]).tensors
    with torch.no_grad():
        output = composer(**tensors)
    image, text = (
        forwards.clip_image(weights, tensors["pixel_values"]),
        forwards.clip_text(weights, tensors["input_ids"]),
    )
    torch.testing.assert_close(output.image, image / image.norm(dim=-1, keepdim=True), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.text, text / text.norm(dim=-1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_a_resnet_is_read_whole():
    sizes = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    weights = open_clip.CLIP(16, sizes, text, quick_gelu=True).state_dict()
    assert model_config(weights, "f")["vision_cfg"] == sizes
    composer = read_openai_clip(weights, "f", "mine")
    assert torch.equal(composer.model.visual.layer2[1].conv1.weight, weights["visual.layer2.1.conv1.weight"])


def test_other_files_are_refused(clip_file):
    _, weights = clip_file
    with pytest.raises(InputError, match=r"f is no CLIP with OpenAI's names: text_projection, positional_embedding"):
        read_openai_clip({"a": torch.ones(1)}, "f", "mine")
    flat = weights | {"visual.conv1.weight": torch.ones(3)}
    with pytest.raises(InputError, match=r"f is no CLIP with OpenAI's names: not enough values"):
        read_openai_clip(flat, "f", "mine")
    without = {name: value for name, value in weights.items() if name != "visual.conv1.weight"}
    with pytest.raises(InputError, match=r"f is no CLIP with OpenAI's names: visual.conv1.weight missing"):
        read_openai_clip(without, "f", "mine")
    without = {name: value for name, value in weights.items() if "1.mlp.c_fc" not in name}
    with pytest.raises(InputError, match=r"f is no CLIP with OpenAI's names: .*Missing key"):
        read_openai_clip(without, "f", "mine")
