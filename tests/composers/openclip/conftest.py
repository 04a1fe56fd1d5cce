"""Models of open_clip, each small and random, saved by open_clip's own writer."""

import json

import open_clip
import pytest
import torch
import transformers
from open_clip.push_to_hf_hub import save_for_hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmgrad_explain.composers.load import load_composer

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SHORT = {**TEXT, "context_length": 11, "embed_cls": True, "output_tokens": True}
VIT = {"image_size": [32, 48], "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
POOL = {"attentional_pool": True, "attn_pooler_queries": 3, "attn_pooler_heads": 2}
COCA = {"text_cfg": SHORT, "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2}, "custom_text": True}
WIDE = {**COCA, "embed_dim": 32}
TIMM = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "image_size": 160}
CONFIGS = {
    "class token": {"vision_cfg": VIT, "quick_gelu": True},
    "custom text": {"vision_cfg": {**VIT, "pool_type": "tok"}, "custom_text": True, "init_logit_bias": -10},
    "average": {"vision_cfg": {**VIT, "pool_type": "avg"}},
    "late norm": {"vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True}},
    "attention pool": {"vision_cfg": {**VIT, **POOL, "pool_type": "avg"}},
    "CoCa": {"vision_cfg": {**VIT, **POOL, "output_tokens": True}, **COCA},
    "CoCa, parallel": {"vision_cfg": {**VIT, **POOL, "attentional_pool": "parallel", "output_tokens": True}, **WIDE},
    "CoCa, cascade": {"vision_cfg": {**VIT, **POOL, "attentional_pool": "cascade", "output_tokens": True}, **WIDE},
    "ResNet": {"vision_cfg": {"image_size": 128, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}},
    "timm ViT": {"vision_cfg": {**TIMM, "timm_pool": "", "timm_proj": "linear"}, "custom_text": True},
    "timm ConvNeXt": {"vision_cfg": {**TIMM, "timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp"}},
    "timm, attention pool": {
        "vision_cfg": {**TIMM, "timm_model_name": "test_efficientnet", "timm_pool": "rot_attn", "timm_proj": ""}
    },
}
PREPROCESS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "resize_mode": "shortest"}


class NoTokenizer:
    def save_pretrained(self, folder):
        pass


def config_of(kind):
    return json.loads(json.dumps({"embed_dim": 16, "text_cfg": TEXT, **CONFIGS[kind]}))


def save_model(config, folder, tokenizer=None):
    torch.manual_seed(0)
    given = dict(config)
    given["text_cfg"], given["vision_cfg"] = dict(given["text_cfg"]), dict(given["vision_cfg"])
    custom = given.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in given else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(**given).eval()
    with torch.no_grad():
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None and value.ndim > 1 and value.shape[0] < 40_000:
                    value.normal_(0, value[0].numel() ** -0.5)
                elif value is not None and name == "weight" and value.ndim == 1:
                    value.fill_(1)
    model.visual.image_mean, model.visual.image_std = PREPROCESS["mean"], PREPROCESS["std"]
    model.visual.preprocess_cfg = dict(PREPROCESS)
    save_for_hf(model, tokenizer or NoTokenizer(), config, folder, safe_serialization=True)
    return model


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A function of a kind of model: its folder, open_clip's model, the composer."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("openclip")
            model = save_model(config_of(kind), folder)
            made[kind] = folder, model, load_composer(folder)
        return made[kind]

    return get


@pytest.fixture
def word_tokenizer():
    """A tokenizer of transformers that knows a few words."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "make", "it", "red", "a", "blue", "square"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture
def with_roberta(tmp_path, word_tokenizer):
    """A folder whose text tower and tokenizer are of transformers."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = transformers.RobertaConfig(**sizes, vocab_size=10, max_position_embeddings=16, pad_token_id=0)
    text.save_pretrained(tmp_path / "text")
    named = {"hf_model_name": str(tmp_path / "text"), "hf_tokenizer_name": "owner/tokenizer", "hf_proj_type": "linear"}
    text_config = {**named, "context_length": 8, "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False}
    config = {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": text_config, "custom_text": True}
    model = save_model(config, tmp_path / "model", word_tokenizer)
    return tmp_path / "model", model


@pytest.fixture
def no_hub():
    """Stands for a download without a network."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*_args, **_options):
        raise LocalEntryNotFoundError("offline")

    return fail


@pytest.fixture
def square(tmp_path):
    """A composer that takes square images of 32 pixels."""
    config = config_of("class token")
    config["vision_cfg"]["image_size"] = 32
    save_model(config, tmp_path / "square")
    return load_composer(tmp_path / "square")
