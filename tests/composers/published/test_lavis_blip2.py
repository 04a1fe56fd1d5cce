"""SPRC computes what its paper's code computes, and stays the same in a folder; other files are refused."""

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain import explain
from mmgrad_explain.composers import load_composer
from mmgrad_explain.composers.published import open_published
from mmgrad_explain.composers.published.lavis_blip2 import TOWERS, published_name
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.similarities import similarities

TEXTS = ["make it red", "is darker and has no sleeves"]


@pytest.mark.parametrize("tower", ["ViT-g", "ViT-L"])
def test_sprc(tower, sprc_files, blip2_folder, forwards, tmp_path):
    file, weights = sprc_files[tower]
    composer = open_published("sprc", file, tower=blip2_folder)
    images = [Image.effect_noise((90, 32), 90).convert("RGB"), Image.linear_gradient("L").convert("RGB")]
    tensors = composer.preprocess(images, TEXTS, images[::-1]).tensors
    torch.testing.assert_close(tensors["pixel_values"][0], forwards.target_pad(images[0], 32))
    with torch.no_grad():
        output = composer(**tensors)
    pixels, ids, mask = (tensors[name] for name in ("pixel_values", "input_ids", "attention_mask"))
    torch.testing.assert_close(output.embedding, forwards.sprc_query(weights, pixels, ids, mask), rtol=1e-4, atol=1e-5)
    gallery = forwards.sprc_gallery(weights, pixels)
    torch.testing.assert_close(output.alone, gallery, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.target, gallery.flip(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(composer.logit_scale.exp(), torch.tensor(20.0))
    assert torch.equal(composer.learned, weights["prompt_tokens"])
    composer.save_pretrained(tmp_path / "model")
    again = load_composer(tmp_path / "model")
    tensors_again = again.preprocess(images, TEXTS, images[::-1]).tensors
    with torch.no_grad():
        assert torch.equal(again(**tensors_again).embedding, output.embedding)
    assert torch.equal(again.learned, composer.learned)
    assert explain(images[0], TEXTS[0], model=again).maps[0].max() > 0


def test_the_losses_of_the_learned_prompt(sprc_files, blip2_folder, forwards):
    file, weights = sprc_files["ViT-g"]
    composer = open_published("sprc", file, tower=blip2_folder)
    images = [Image.effect_noise((40, 32), 90).convert("RGB"), Image.linear_gradient("L").convert("RGB")]
    tensors = composer.preprocess(images, TEXTS, images[::-1]).tensors
    output = composer(**tensors)
    found = composer.learned_prompt(output, tensors["input_ids"], tensors["attention_mask"])
    contrast, align = forwards.sprc_losses(
        weights, tensors["pixel_values"], tensors["target_pixel_values"], tensors["input_ids"],
        tensors["attention_mask"],
    )  # fmt: skip
    similar = similarities(found.query, output.target) * composer.logit_scale.exp()
    torch.testing.assert_close(F.cross_entropy(similar, torch.arange(2)), contrast, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.distance.mean(), align, rtol=1e-4, atol=1e-6)
    assert torch.autograd.grad(found.query.sum(), composer.learned, retain_graph=True)[0].abs().max() > 0
    (gone,) = torch.autograd.grad(found.distance.sum(), composer.learned, allow_unused=True)
    assert gone is None  # the distance moves what is made of the image, not the learned prompt


def test_what_does_not_fit_is_said(sprc_files, blip2_folder, tmp_path):
    file = sprc_files["ViT-g"][0]
    with pytest.raises(InputError, match=r"ViT-g.pt holds no tokenizer: name a folder or hub id of BLIP-2"):
        open_published("sprc", file)
    with pytest.raises(InputError, match=r"prompt: SPRC has none"):
        open_published("sprc", file, tower=blip2_folder, prompt="a $ {text}")
    of_g, of_l = (f"other.pt is no SPRC on BLIP-2's {tower}: " for tower in ("ViT-g", "ViT-L"))
    no_tower = r"other.pt is no SPRC: it has no vision tower of BLIP-2, neither visual_encoder.pos_embed \(ViT-g\) or"
    for tower, change, message in (
        (
            "ViT-g",
            {"visual_encoder.blocks.1.attn.q_bias": None},
            of_g + r"it lacks visual_encoder.blocks.1.attn.q_bias$",
        ),
        ("ViT-g", {"text_proj.bias": None}, of_g + r"it lacks text_proj.bias$"),
        ("ViT-g", {"visual_encoder.conv1.weight": torch.ones(1)}, of_g + r"it has visual_encoder.conv1.weight$"),
        ("ViT-g", {"itm_head.weight": torch.ones(128, 2)}, of_g + r"itm_head.weight is 128 x 2, not 2 x 128$"),
        ("ViT-g", {"prompt_tokens": torch.ones(1, 1, 128)}, r"prompt_tokens is 1 x 1 x 128, .* must be 1 x 5 x 128$"),
        ("ViT-L", {"visual_encoder.ln_pre.bias": None}, of_l + r"it lacks visual_encoder.ln_pre.bias$"),
        ("ViT-g", {"visual_encoder.pos_embed": None}, no_tower),
    ):
        changed = {name: value for name, value in (sprc_files[tower][1] | change).items() if value is not None}
        torch.save({"model": changed}, tmp_path / "other.pt")
        with pytest.raises(InputError, match=message):
            open_published("sprc", tmp_path / "other.pt", tower=blip2_folder)


def test_names_are_those_of_lavis():
    giant, large = TOWERS
    assert published_name("qformer.encoder.layer.0.crossattention.attention.query.weight", giant) == (
        "Qformer.bert.encoder.layer.0.crossattention.self.query.weight"
    )
    block = "vision_model.encoder.layers.3."
    assert published_name(f"{block}layer_norm1.bias", giant) == "visual_encoder.blocks.3.norm1.bias"
    assert published_name(f"{block}layer_norm1.bias", large) == "visual_encoder.transformer.resblocks.3.ln_1.bias"
