"""CLIP (Radford et al., arXiv 2103.00020) and models with its vision tower."""

from mmgrad_explain.composers.family_files import last_block_input
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily

_LAYER = last_block_input("vision_model", "encoder.layers", "layer_norm1")
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_HUGE = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}

FAMILIES = {
    "clip": ContrastiveFamily("CLIP", "CLIPModel", _LAYER, ContrastiveCheckpoint("openai/clip-vit-base-patch32")),
    "metaclip_2": ContrastiveFamily(
        "MetaCLIP 2",
        "MetaClip2Model",
        _LAYER,
        ContrastiveCheckpoint(
            "facebook/metaclip-2-worldwide-huge-quickgelu", {"vision_config": {**_HUGE, "patch_size": 14}}
        ),
    ),
    "clipseg": ContrastiveFamily(
        "CLIPSeg, its CLIP",
        "CLIPSegModel",
        _LAYER,
        ContrastiveCheckpoint("CIDAS/clipseg-rd64-refined", {"vision_config": {"patch_size": 16}}, image_size=352),
        weights_prefix="clip.",
    ),
    "chinese_clip": ContrastiveFamily(
        "Chinese-CLIP",
        "ChineseCLIPModel",
        _LAYER,
        ContrastiveCheckpoint("OFA-Sys/chinese-clip-vit-base-patch16", {"vision_config": {"patch_size": 16}}),
        text_class_token=True,
    ),
    "altclip": ContrastiveFamily(
        "AltCLIP",
        "AltCLIPModel",
        _LAYER,
        ContrastiveCheckpoint("BAAI/AltCLIP", {"vision_config": {**_LARGE, "patch_size": 14}}),
        extra_positions=2,
    ),
}
