"""Make the parts of stand-ins for downloaded models: sizes, tokenizer, random weights, files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

WORDS = """a about above add an and animal apple are arm at bag ball banana beach bed bench bicycle big bigger
bird black blouse blue boat book boots bottle bowl boy bridge brown building bus cake camera car cat chair child city
clock cloud coat collar color colour cow cup dark desk dog door dots dress elephant eyes face fence field fire flower
food four from girl glass glasses grass green grey guitar hair hand hat head horse house how in instead is it jacket
kitchen lamp large laptop left less light long longer make man many market more motorcycle mountain neck no of on one
open orange other park patterned person phone picture pillow pink pizza plain plane plant plate purple red ring river
road room round running same sand sea shirt shoes short shorter shoulder shown sign sits sitting skirt sky sleeves
sleeveless small smaller snow sofa square standing stands star street striped stripes suitcase sun table tail tall
the their there thing three to top towel tower toy train tree trousers truck turn two umbrella under vase wall watch
water wearing what wheel where which white who window with without woman wood yellow yes young zebra"""
"""Everyday words that are one token each."""

_BYTES = 256
_PAD, _START, _IMAGE, _END = _SPECIAL = ("<pad>", "<start>", "<image>", "<end>")
_END_ID = _SPECIAL.index(_END)
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": _END_ID}
_SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
_TABLES = re.compile(r"(position|token|word)_embedding|embed_tokens")
_ATTENDING = re.compile(r"\b(q_proj|k_proj|query|key)\b")


@dataclass(frozen=True)
class _StandIn:
    """What one kind of stand-in is made of.

    Attributes:
        model_class: Its class in transformers.
        image_processor: Likewise. CLIP's crops to a square, the others stretch to one.
        image_size: Height and width of the images, in pixels.
        patch_size: Height and width of a patch, in pixels.
        positions: How many tokens a text may have.
        text: Further settings of the text part.
        vision: Further settings of the vision part.
        options: Further settings of the config.
    """

    model_class: str
    image_processor: str
    image_size: int
    patch_size: int
    positions: int
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


# Image sizes, patches and text lengths are those of openai/clip-vit-base-patch32, google/siglip-base-patch16-224,
# Salesforce/blip-itm-base-coco and llava-hf/llava-1.5-7b-hf.
_STAND_INS = {
    "clip": _StandIn("CLIPModel", "CLIPImageProcessor", 224, 32, 77, options={"projection_dim": 64}),
    "siglip": _StandIn("SiglipModel", "SiglipImageProcessor", 224, 16, 64),
    "blip": _StandIn(
        "BlipForImageTextRetrieval",
        "BlipImageProcessor",
        384,
        16,
        512,
        text={"encoder_hidden_size": 64, "sep_token_id": _END_ID},
        options={"projection_dim": 64, "image_text_hidden_size": 64},
    ),
    "llava": _StandIn(
        "LlavaForConditionalGeneration",
        "CLIPImageProcessor",
        336,
        14,
        4096,
        text={"model_type": "llama", "num_key_value_heads": 4},
        vision={"model_type": "clip_vision_model"},
        options={"image_token_index": _SPECIAL.index(_IMAGE)},
    ),
}
KINDS = tuple(_STAND_INS)
"""The kinds of models that have stand-ins."""


def write_model_folder(kind: str, folder: Path) -> None:
    """Write a stand-in's config, weights, tokenizer and processor.

    Args:
        kind: One of :data:`KINDS`.
        folder: To write into; made if needed.
    """
    import transformers

    from mmgrad_explain.composers.huggingface.loading import make_readable, silent

    recipe = _STAND_INS[kind]
    square = {"height": recipe.image_size, "width": recipe.image_size}
    sizes = (
        {"size": {"shortest_edge": recipe.image_size}, "crop_size": square}
        if recipe.image_processor == "CLIPImageProcessor"
        else {"size": square}
    )
    images = getattr(transformers, recipe.image_processor)(**sizes)
    words = _tokenizer(lowercase=kind != "llava")
    with silent():
        model = _model(recipe, len(words))
        if kind == "llava":
            _limit_answers(model, words)
            transformers.LlavaProcessor(
                image_processor=images,
                tokenizer=words,
                patch_size=recipe.patch_size,
                vision_feature_select_strategy="default",
                image_token=_IMAGE,
                num_additional_image_tokens=1,
            ).save_pretrained(folder)
        else:
            words.save_pretrained(folder)
            images.save_pretrained(folder)
        model.save_pretrained(folder)
    make_readable(folder, "config.json")


def _tokenizer(*, lowercase: bool) -> Any:
    """Train a tokenizer of byte pairs (Sennrich et al., arXiv 1508.07909) on everyday words; others become bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=_BYTES + len(_SPECIAL) + 4 * len(WORDS.split()),
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS.split())], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}" if lowercase else f"{_START} $A",
        special_tokens=[(token, _SPECIAL.index(token)) for token in (_START, _END)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_PAD, bos_token=_START, eos_token=_END)


def _model(recipe: _StandIn, vocabulary: int) -> Any:
    """Build the model with random weights, larger than the initial ones, which would hardly let a text through."""
    import torch
    import transformers

    model_class = getattr(transformers, recipe.model_class)
    vision = {**_SIZES, **recipe.vision, "image_size": recipe.image_size, "patch_size": recipe.patch_size}
    text = {**_SIZES, **_IDS, **recipe.text, "vocab_size": vocabulary, "max_position_embeddings": recipe.positions}
    config = model_class.config_class(vision_config=vision, text_config=text, **recipe.options)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = model_class(config).eval()
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.normal_(0, 1 if _TABLES.search(name) else value[0].numel() ** -0.5)
                value.mul_(2 if _ATTENDING.search(name) else 1)
    return model


def _limit_answers(model: Any, tokenizer: Any) -> None:
    """Set a model to answer in a few everyday words, instead of nothing or endless parts of words."""
    settings = model.generation_config
    allowed = {_END_ID, *(tokenizer.convert_tokens_to_ids(f"\u0120{word}") for word in WORDS.split())}
    settings.suppress_tokens = sorted(set(range(len(tokenizer))) - allowed)
    settings.begin_suppress_tokens = [_END_ID]
    settings.no_repeat_ngram_size = 1
    settings.exponential_decay_length_penalty = (3, 1.5)
