"""SPRC computes what its paper's code computes, and stays the same in a folder; other files are refused."""

import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.composers import load_composer
from mmgrad_explain.composers.published import open_published
from mmgrad_explain.composers.published.lavis_blip2 import published_name
from mmgrad_explain.errors import InputError

TEXTS = ["make it red", "is darker and has no sleeves"]


def test_sprc(sprc_file, blip2_folder, forwards, tmp_path):
    file, weights = sprc_file
    composer = open_published("sprc", file, tower=blip2_folder)
    images = [Image.effect_noise((40, 32), 90).convert("RGB"), Image.linear_gradient("L").convert("RGB")]
    tensors = composer.preprocess(images, TEXTS, images[::-1]).tensors
    with torch.no_grad():
        output = composer(**tensors)
    pixels, ids, mask = (tensors[name] for name in ("pixel_values", "input_ids", "attention_mask"))
    torch.testing.assert_close(output.embedding, forwards.sprc_query(weights, pixels, ids, mask), rtol=1e-4, atol=1e-5)
    gallery = forwards.sprc_gallery(weights, pixels)
    torch.testing.assert_close(output.alone, gallery, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.target, gallery.flip(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(composer.logit_scale.exp(), torch.tensor(20.0))
    composer.save_pretrained(tmp_path / "model")
    again = load_composer(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again(**tensors).embedding, output.embedding)
    assert explain(images[0], TEXTS[0], model=again).maps[0].max() > 0


def test_what_does_not_fit_is_said(sprc_file, blip2_folder, tmp_path):
    file, weights = sprc_file
    with pytest.raises(InputError, match=r"sprc.pt holds no tokenizer: name a folder or hub id of BLIP-2"):
        open_published("sprc", file)
    with pytest.raises(InputError, match=r"prompt: SPRC has none"):
        open_published("sprc", file, tower=blip2_folder, prompt="a $ {text}")
    for change, message in (
        ({"visual_encoder.blocks.1.attn.q_bias": None}, r"it lacks visual_encoder.blocks.1.attn.q_bias$"),
        ({"text_proj.bias": None}, r"it lacks text_proj.bias$"),
        ({"visual_encoder.conv1.weight": torch.ones(1)}, r"it has visual_encoder.conv1.weight$"),
    ):
        changed = {name: value for name, value in (weights | change).items() if value is not None}
        torch.save({"model": changed}, tmp_path / "other.pt")
        with pytest.raises(InputError, match=r"other.pt is no SPRC of BLIP-2's ViT-g: " + message):
            open_published("sprc", tmp_path / "other.pt", tower=blip2_folder)


def test_names_are_those_of_lavis():
    assert published_name("qformer.encoder.layer.0.crossattention.attention.query.weight") == (
        "Qformer.bert.encoder.layer.0.crossattention.self.query.weight"
    )
    assert published_name("vision_model.encoder.layers.3.layer_norm1.bias") == "visual_encoder.blocks.3.norm1.bias"
