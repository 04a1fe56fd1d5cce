"""Small random towers with their processors, and each method on them; for the tests beside this file."""

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from mmgrad_explain.composers.fusion.composer import FusionComposer

WORDS = ["<pad>", "<start>", "make", "it", "red", "blue", "a", "photo", "of", "that", "<unk>", "<end>"]


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


TEXT = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 16, "pad_token_id": 0}


ENDS = {**TEXT, "bos_token_id": 1, "eos_token_id": 11}


VISION = {**SMALL, "image_size": 32, "patch_size": 8}


CONFIGS = {
    "clip": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "siglip": {"text_config": {**ENDS, "projection_size": 32}, "vision_config": VISION},
    "align": {
        "text_config": TEXT,
        "vision_config": {"image_size": 64, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32},
        "projection_dim": 32,
    },
    "blip": {
        "text_config": {**ENDS, "encoder_hidden_size": 32, "sep_token_id": 11},
        "vision_config": VISION,
        "projection_dim": 16,
        "image_text_hidden_size": 16,
    },
}


CLASSES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "align": "AlignModel",
    "blip": "BlipForImageTextRetrieval",
}


CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


PROCESSORS = {
    "clip": ("CLIPImageProcessor", CROP),
    "siglip": ("SiglipImageProcessor", {"size": {"height": 32, "width": 48}}),  # its positions are stretched
    "align": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}, "do_center_crop": False}),
    "blip": ("BlipImageProcessor", {"size": {"height": 32, "width": 32}}),
}


OPTIONS = {
    "tirg": {"width": 24},
    "tirg-spatial": {"width": 8},
    "film": {"width": 12, "blocks": 2},
    "cross-attention": {"width": 16, "heads": 2, "layers": 2},
    "combiner": {"width": 12},
    "inversion": {"width": 24},
    "qformer": {"width": 16, "heads": 2, "layers": 2, "queries": 3},
}


READ_PATCHES = {"tirg-spatial", "film", "cross-attention", "qformer"}


TEXTS = ["make it red", "a blue photo of it"]


def make_tower(kind, folder):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 11)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    name, options = PROCESSORS[kind]
    getattr(transformers, name)(**options).save_pretrained(folder)
    torch.manual_seed(0)
    model_class = getattr(transformers, CLASSES[kind])
    model = model_class(model_class.config_class(**CONFIGS[kind])).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:  # the usual small random weights hardly let anything through
                value.normal_(0, value[0].numel() ** -0.5)
    model.save_pretrained(folder)
    return model


def compose(folder, method, **more):
    torch.manual_seed(1)
    return FusionComposer.from_tower(folder, method, **{**OPTIONS[method], **more})
