"""Small random models of every generative family, with the real image processors; for the tests beside this file."""

import re
from types import SimpleNamespace

import numpy as np
import torch
import transformers
from PIL import Image
from torch import nn

from mmgrad_explain.composers.generative.family import generative_families

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TOKEN = 9
QUESTION, ANSWER, OTHER = [2, 3], [4, 5, 6], [7, 8, 4]
TEXT = {**SIZES, "vocab_size": 16, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2}
TEXT |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "head_dim": 16}
LLAMA = {"model_type": "llama", **TEXT}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
QWEN_TEXT = {**TEXT, "rope_parameters": MROPE, "rope_scaling": MROPE}
GEMMA = {**TEXT, "sliding_window": 512}
CLIP = {"model_type": "clip_vision_model", **SIZES, "image_size": 32, "patch_size": 8}
SIGLIP = {"model_type": "siglip_vision_model", **SIZES, "image_size": 32, "patch_size": 8, "vision_use_head": False}
QWEN_VISION = {"depth": 3, "num_heads": 2, "patch_size": 4, "in_channels": 3}
IDS = {"image_token_id": TOKEN, "video_token_id": 10, "vision_start_token_id": 11, "vision_end_token_id": 12}
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
CONFIGS = {
    "llava": {"vision_config": CLIP, "text_config": LLAMA, "image_token_index": TOKEN},
    "llava_next": {
        "vision_config": CLIP,
        "text_config": LLAMA,
        "image_token_index": TOKEN,
        "image_grid_pinpoints": PINPOINTS,
    },
    "llava_onevision": {
        "vision_config": SIGLIP,
        "text_config": LLAMA,
        "image_token_index": TOKEN,
        "image_grid_pinpoints": PINPOINTS,
    },
    "qwen2_vl": {
        "vision_config": {**QWEN_VISION, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
        "text_config": {"model_type": "qwen2_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "qwen2_5_vl": {
        "vision_config": {
            **QWEN_VISION,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "window_size": 16,
            "fullatt_block_indexes": [2],
        },
        "text_config": {"model_type": "qwen2_5_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "qwen3_vl": {
        "vision_config": {
            **QWEN_VISION,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        "text_config": {"model_type": "qwen3_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "paligemma": {
        "vision_config": {**SIGLIP, "projection_dim": 32},
        "text_config": {"model_type": "gemma", **TEXT},
        "image_token_index": TOKEN,
        "projection_dim": 32,
    },
    "gemma3": {
        "vision_config": {**SIGLIP, "patch_size": 4},
        "text_config": {"model_type": "gemma3_text", **GEMMA},
        "image_token_index": TOKEN,
        "mm_tokens_per_image": 16,
    },
    "idefics3": {
        "vision_config": {**SIZES, "image_size": 32, "patch_size": 4},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "scale_factor": 2,
    },
    "smolvlm": {
        "vision_config": {**SIZES, "image_size": 32, "patch_size": 4},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "scale_factor": 2,
    },
    "internvl": {
        "vision_config": {**SIZES, "image_size": [32, 32], "patch_size": [4, 4]},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "downsample_ratio": 0.5,
    },
}
SQUARE = {"height": 32, "width": 32}
CROP = {"size": {"shortest_edge": 32}, "crop_size": SQUARE}
QWEN_PROCESSOR = ("Qwen2VLImageProcessor", {"patch_size": 4, "min_pixels": 64, "max_pixels": 64 * 64})
SPLIT = {"size": {"longest_edge": 90}, "max_image_size": {"longest_edge": 32}}
PROCESSORS = {
    "llava": ("LlavaImageProcessor", {**CROP, "do_pad": True}),
    "llava_next": ("LlavaNextImageProcessor", {**CROP, "image_grid_pinpoints": PINPOINTS}),
    "llava_onevision": ("LlavaOnevisionImageProcessor", {"size": SQUARE, "image_grid_pinpoints": PINPOINTS}),
    "qwen2_vl": QWEN_PROCESSOR,
    "qwen2_5_vl": QWEN_PROCESSOR,
    "qwen3_vl": QWEN_PROCESSOR,
    "paligemma": ("SiglipImageProcessor", {"size": SQUARE}),
    "gemma3": ("Gemma3ImageProcessor", {"size": SQUARE}),
    "idefics3": ("Idefics3ImageProcessor", SPLIT),
    "smolvlm": ("SmolVLMImageProcessor", SPLIT),
    "internvl": ("GotOcr2ImageProcessor", {"size": SQUARE, "crop_to_patches": True, "max_patches": 6}),
}
# Width and height of a picture, and the grid of its map.
PICTURES = {
    "llava": ((90, 60), (4, 4)),
    "llava_next": ((90, 64), (6, 8)),
    "llava_onevision": ((50, 90), (8, 4)),
    "qwen2_vl": ((70, 42), (5, 9)),
    "qwen2_5_vl": ((70, 42), (5, 9)),
    "qwen3_vl": ((70, 42), (5, 9)),
    "paligemma": ((90, 60), (4, 4)),
    "gemma3": ((90, 60), (4, 4)),
    "idefics3": ((90, 60), (8, 12)),
    "smolvlm": ((50, 90), (12, 8)),
    "internvl": ((100, 60), (8, 12)),
}
FAMILIES = generative_families()
KINDS = list(FAMILIES)


class Answering(nn.Module):
    """The log-likelihood of the last tokens, and how layers lie on the pictures."""

    def __init__(self, kind, **changes):
        super().__init__()
        family = FAMILIES[kind]
        model_class = getattr(transformers, family.model_class)
        torch.manual_seed(1)
        self.model = model_class(model_class.config_class(**{**CONFIGS[kind], **changes})).double().eval()
        with torch.no_grad():  # Gemma 3 starts with a projection of zeros
            for name, parameter in self.model.named_parameters():
                if parameter.ndim == 2 and not parameter.any():
                    parameter.normal_(std=0.2)
                if re.search(r"vis.*(out_proj|attn\.proj|projection_layer)\.weight", name):
                    parameter.mul_(0.2)  # patches tell each other little, so that what changes stays in its place
        self.family, self.kind = family, kind
        self.target_layer = f"model.{family.layer(self.model.config)}"

    def forward(self, **tensors):
        taken = {name: value for name, value in tensors.items() if name != "tiles"}
        count = len(ANSWER)
        logits = self.model(**taken).logits[:, -count - 1 : -1]
        answers = tensors["input_ids"][:, -count:, None]
        return logits.log_softmax(-1).gather(2, answers)[..., 0].sum(1)

    def layout_for(self, layer, **tensors):
        return self.family.layout(self.model, layer.removeprefix("model."), tensors)


def picture(kind, seed=0):
    width, height = PICTURES[kind][0]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def processor(kind, **changes):
    """The real image processor, in what stands for the whole one."""
    name, options = PROCESSORS[kind]
    image_processor = getattr(transformers, name)(**{**options, **changes})
    patch_size = None if kind == "llava_onevision" else 8
    return SimpleNamespace(image_processor=image_processor, patch_size=patch_size, num_image_tokens=16)


def prepared(kind, image, model, answer=ANSWER):
    """One picture's tensors and placement, and the prompt's with as many image tokens as the model makes of it."""
    family, own = FAMILIES[kind], processor(kind)
    made = own.image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.image_tensors}
    tensors["pixel_values"] = tensors["pixel_values"].double()
    tensors |= family.tiles_of(own, image, tensors)
    with torch.no_grad():
        made = model.get_image_features(**{name: tensors[name] for name in family.image_tensors})
    made = getattr(made, "pooler_output", made)  # of transformers 5; 4 gives the features, Qwen3-VL more than those
    made = made[0] if kind == "qwen3_vl" else made
    count = sum(part.shape[:-1].numel() for part in made)
    tensors["input_ids"] = torch.tensor([[1, *[TOKEN] * count, *QUESTION, *answer]])
    types = [0, *[1] * count, *[0] * len(QUESTION)]
    for name, value in family.types.items():
        prompt = [0] * len(types) if kind == "paligemma" else types
        tensors[name] = torch.tensor([prompt + [value] * len(answer)])
    return tensors, family.place(own, image, tensors)


def together(*several):
    return {name: torch.cat([tensors[name] for tensors in several]) for name in several[0]}


def likelihood(answering, tensors):
    return answering(**tensors)


def activation(answering, layer, tensors, score=likelihood):
    seen = []
    module = answering.get_submodule(layer)
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        scored = score(answering, tensors)
    finally:
        handle.remove()
    return (seen[0][0] if isinstance(seen[0], tuple) else seen[0]), scored


def original_box(placement, grid, cell):
    """The middle of a cell, in the original's pixels: top, bottom, left, right; None where the picture is not there."""
    box = []
    for axis in (0, 1):
        size = placement.input[axis] / grid[axis]
        for part in (0.2, 0.8):
            place = ((cell[axis] + part) * size - placement.offset[axis]) / placement.scale[axis]
            box.append(round(place))
        if box[-2] < 0 or box[-1] > placement.original[axis] or box[-1] == box[-2]:
            return None
    return box
