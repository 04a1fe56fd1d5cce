"""transformers' VisionTextDualEncoderModel over several vision models."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from mmgrad_explain import explain
from mmgrad_explain.composers.huggingface.vision_text import VisionTextComposer
from mmgrad_explain.composers.load import load_composer

WORDS = ["[PAD]", "make", "it", "red", "a", "blue", "square", "[UNK]"]
TEXTS = ["make it red", "a blue square"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [1, 2], "window_size": 4}


def layers_of(vision):
    """The list of blocks, wherever this version of transformers keeps it."""
    return next(one for one in vision.modules() if isinstance(one, torch.nn.ModuleList) and len(one) == 2)


def last_norm_of(vision):
    """SigLIP's last norm, likewise."""
    return next(one for name, one in vision.named_modules() if name.endswith("post_layernorm"))


KINDS = {
    "ViTConfig": (VISION, lambda vision: layers_of(vision)[-1].layernorm_before, (4, 4)),
    "CLIPVisionConfig": (VISION, lambda vision: layers_of(vision)[-1].layer_norm1, (4, 4)),
    "Dinov2Config": (VISION, lambda vision: layers_of(vision)[-1].norm1, (4, 4)),
    "SiglipVisionConfig": (VISION, last_norm_of, (4, 4)),
    "SwinConfig": (SWIN, lambda vision: vision.layernorm, (8, 8)),
}


def save_model(kind, folder, text_class=transformers.BertConfig):
    torch.manual_seed(0)
    options, *_ = KINDS[kind]
    text = text_class(**SIZES, vocab_size=8, max_position_embeddings=9, pad_token_id=0)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        getattr(transformers, kind)(**options), text, projection_dim=16
    )
    model = transformers.VisionTextDualEncoderModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.normal_(0, value[0].numel() ** -0.5)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    side = options["image_size"]
    transformers.ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return model


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have an empty map
@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_plain_grad_cam(kind, picture, tmp_path):
    model = save_model(kind, tmp_path)
    _, where, grid = KINDS[kind]
    composer = load_composer(tmp_path)
    assert isinstance(composer, VisionTextComposer)
    assert composer.get_submodule(composer.target_layer) is where(composer.model.vision_model)
    explanation = explain([picture] * 2, TEXTS, model=composer, method="gradcam")
    inputs = composer.preprocess([picture] * 2, TEXTS).tensors
    outputs = []
    handle = where(model.vision_model).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    output = model(**inputs)
    handle.remove()
    score = torch.cosine_similarity(output.image_embeds, output.text_embeds)
    (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    cells = grid[0] * grid[1]
    values, slopes = (one[:, -cells:].unflatten(1, grid).permute(0, 3, 1, 2) for one in (outputs[0], gradient))
    expected = (slopes.mean((2, 3), keepdim=True) * values).sum(1).detach()
    (signed,) = next(iter(explanation.signed.values()))
    top = expected.abs().max()
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(signed / top, expected / top, atol=1e-4, rtol=1e-3)
    assert (signed[0] - signed[1]).abs().max() > 0.01 * top


def test_roberta_counts_positions_from_behind_its_padding(tmp_path):
    save_model("ViTConfig", tmp_path, transformers.RobertaConfig)
    assert load_composer(tmp_path).processor.max_tokens == 8


def test_a_model_whose_parts_have_other_names_has_its_layer_looked_for(tmp_path, picture, monkeypatch):
    save_model("ViTConfig", tmp_path)
    monkeypatch.setattr("mmgrad_explain.composers.huggingface.vision_text._LAYERS", {"vit": ("blocks.{}.norm",)})
    composer = load_composer(tmp_path)
    assert composer.target_layer is None
    assert explain(picture, TEXTS[0], model=composer).maps.shape == (1, 4, 4)
