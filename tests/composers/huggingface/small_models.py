"""Each family as a small random model with its processor, and its score and map by the model's own forward."""

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmgrad_explain.composers.huggingface.family import contrastive_families

WORDS = ["<pad>", "<start>", "make", "the", "it", "red", "blue", "a", "square", "<unk>", "<end>"]


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


TEXT = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8, "pad_token_id": 0}


ENDS = {**TEXT, "bos_token_id": 1, "eos_token_id": 10}


VISION = {**SIZES, "image_size": 32, "patch_size": 8}


GROUPS = {"depths": [1, 1, 1], "num_hidden_layers": 3, "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]}


EFFICIENTNET = {"image_size": 112, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32}


MULTIMODAL = {"multimodal_config": SIZES, "hidden_size": 32}


STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


FAMILIES = contrastive_families()


CONFIGS = {
    "clip": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "metaclip_2": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "siglip": {"text_config": ENDS, "vision_config": VISION},
    "siglip2": {
        "text_config": {**ENDS, "projection_size": 32},
        "vision_config": {**SIZES, "patch_size": 8, "num_patches": 16},
    },
    "align": {"text_config": TEXT, "vision_config": EFFICIENTNET, "projection_dim": 32},
    "chinese_clip": {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16},
    "altclip": {
        "text_config": {**ENDS, "max_position_embeddings": 10, "project_dim": 32},
        "vision_config": VISION,
        "projection_dim": 16,
    },
    "flava": {"text_config": TEXT, "image_config": VISION, "projection_dim": 16, **MULTIMODAL},
    "groupvit": {
        "text_config": ENDS,
        "vision_config": {**VISION, **GROUPS},
        "projection_dim": 16,
        "projection_intermediate_dim": 16,
    },
    "blip": {
        "text_config": {**ENDS, "encoder_hidden_size": 32, "sep_token_id": 10},
        "vision_config": VISION,
        "projection_dim": 16,
        "image_text_hidden_size": 16,
    },
    "blip-2": {
        "qformer_config": {**TEXT, "encoder_hidden_size": 32, "use_qformer_text_input": True, **STILL},
        "vision_config": VISION,
        "text_config": {"model_type": "opt", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9},
        "num_query_tokens": 3,
        "image_text_hidden_size": 16,
    },
    "clipseg": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16, "extract_layers": [0, 1]},
    "vilt": {**TEXT, "image_size": 32, "patch_size": 8},
    "bridgetower": {
        "text_config": {**TEXT, **STILL, "max_position_embeddings": 10, "num_hidden_layers": 3, "hidden_size": 64},
        "vision_config": {**VISION, "num_hidden_layers": 3, "hidden_size": 64},  # a head of its attention has 64
        "hidden_size": 64,
        "num_hidden_layers": 2,
    },
}


CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


SQUASH = {"size": {"height": 32, "width": 32}}


EFFICIENTNET_CROP = {
    "size": {"height": 126, "width": 126},
    "crop_size": {"height": 112, "width": 112},
    "do_center_crop": True,
    "rescale_offset": True,
    "rescale_factor": 1 / 127.5,
    "do_normalize": False,
    "include_top": False,
    "resample": 2,
}


PROCESSORS = {
    "clip": ("CLIPImageProcessor", CROP),
    "metaclip_2": ("CLIPImageProcessor", CROP),
    "siglip": ("SiglipImageProcessor", SQUASH),
    "siglip2": ("Siglip2ImageProcessor", {"patch_size": 8, "max_num_patches": 16}),
    "align": ("EfficientNetImageProcessor", EFFICIENTNET_CROP),
    "chinese_clip": ("ChineseCLIPImageProcessor", {**SQUASH, "do_center_crop": False}),
    "altclip": ("CLIPImageProcessor", CROP),
    "flava": ("FlavaImageProcessor", {**SQUASH, "crop_size": {"height": 32, "width": 32}}),
    "groupvit": ("CLIPImageProcessor", CROP),
    "blip": ("BlipImageProcessor", SQUASH),
    "blip-2": ("BlipImageProcessor", SQUASH),
    "clipseg": ("ViTImageProcessor", SQUASH),
    "bridgetower": (
        "BridgeTowerImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_size": {"shortest_edge": 32}, "size_divisor": 8},
    ),
    "vilt": ("ViltImageProcessor", {"size": {"shortest_edge": 32}, "size_divisor": 8}),
}


# How a reader of the model's code finds the patches: the layer, how many tokens stand before them, their grid.
PLACES = {
    "clip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "metaclip_2": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "siglip": (lambda model: model.vision_model.post_layernorm, 0),
    "siglip2": (lambda model: model.vision_model.post_layernorm, 0),
    "align": (lambda model: model.vision_model.encoder.blocks[-1], None),
    "chinese_clip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "altclip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "flava": (lambda model: model.image_model.encoder.layer[-1].layernorm_before, 1),
    "groupvit": (lambda model: model.vision_model.encoder.stages[0].downsample.norm_x, 0),
    "blip": (lambda model: model.vision_model.post_layernorm, 1),
    "blip-2": (lambda model: model.vision_model.post_layernorm, 1),
    "clipseg": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "bridgetower": (lambda model: model.bridgetower.cross_modal_image_link_tower[-1], 1),
    "vilt": (lambda model: model.vilt.encoder.layer[-1].layernorm_before, 9),  # in a new random order every time
}


MATCHING = ("blip", "blip-2", "bridgetower", "vilt")


TEXTS = ["make it red", "a blue square make it"]


def word_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 10)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_model(kind, folder):
    torch.manual_seed(0)
    model_class = getattr(transformers, FAMILIES[kind].model_class)
    model = model_class(model_class.config_class(**CONFIGS[kind])).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:  # the usual small random weights hardly let the text through
                value.normal_(0, value[0].numel() ** -0.5)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.train()
        model.get_image_features(torch.rand(4, 3, 112, 112)) if kind == "align" else None
        model.eval()
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    name, options = PROCESSORS[kind]
    getattr(transformers, name)(**options).save_pretrained(folder)
    return model


def own_inputs(kind, composer, pictures, texts):
    """What the model's own forward takes, and the grid of its patches where they are tokens."""
    inputs = dict(composer.preprocess(pictures, texts).tensors)
    if FAMILIES[kind].fixed_length:
        del inputs["attention_mask"]
    if kind == "siglip2":  # with its padding
        inputs.update(transformers.Siglip2ImageProcessor(**PROCESSORS[kind][1])(pictures, return_tensors="pt"))
        return inputs, tuple(inputs["spatial_shapes"][0].tolist())
    if kind == "vilt":
        inputs.update(transformers.ViltImageProcessor(**PROCESSORS[kind][1])(pictures, return_tensors="pt"))
        return inputs, tuple(side // 8 for side in inputs["pixel_values"].shape[2:])
    return inputs, None if kind == "align" else (4, 4)


def own_score(kind, model, inputs):
    """The pair's score from the model's own forward."""
    output = model(**inputs, **({"use_image_text_matching_head": True} if kind == "blip-2" else {}))
    if kind == "blip":
        return output.itm_score[:, 1]
    if kind == "blip-2":
        return output.logits_per_image[:, 1]
    if kind in ("bridgetower", "vilt"):
        return output.logits[:, -1]
    if kind == "flava":
        image = model.image_projection(output.image_embeddings[:, 0])
        text = model.text_projection(output.text_embeddings[:, 0])
        return torch.cosine_similarity(image, text)
    return torch.cosine_similarity(output.image_embeds, output.text_embeds)


def on_grid(values, prefix, grid):
    """Tokens ``(B, N, K)`` to ``(B, K, h, w)``; feature maps as they are."""
    if grid is None:
        return values
    return values[:, prefix : prefix + grid[0] * grid[1]].unflatten(1, grid).permute(0, 3, 1, 2)


def plain_grad_cam(kind, model, inputs, grid):
    """Grad-CAM in a few lines, with nothing of this package."""
    where, prefix = PLACES[kind]
    outputs, drawn = [], []
    handle = where(model).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    if kind == "vilt":
        embeddings = model.vilt.embeddings
        draw = type(embeddings).visual_embed
        embeddings.visual_embed = lambda *args, **options: drawn.append(draw(embeddings, *args, **options)) or drawn[0]
    score = own_score(kind, model, inputs)
    handle.remove()
    (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    activation = outputs[0]
    if kind == "vilt":
        del embeddings.visual_embed
        rows, columns = drawn[0][2][0].unbind(-1)
        order = (rows * grid[1] + columns).argsort(1)
        assert not torch.equal(order, order.sort(1).values)
        prefix = inputs["input_ids"].shape[1] + 1
        activation, gradient = (
            torch.stack([one[prefix:][places] for one, places in zip(values, order, strict=True)])
            for values in (activation, gradient)
        )
        prefix = 0
    activation, gradient = on_grid(activation, prefix, grid), on_grid(gradient, prefix, grid)
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach(), score
