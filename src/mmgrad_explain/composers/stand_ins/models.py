"""What small random models in the place of downloaded ones are made of: sizes, tokenizer, weights, files."""

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
class _Kind:
    """One kind of stand-in.

    Attributes:
        model_class: The class in transformers.
        image_processor: Likewise. CLIP's crops to a square, the others stretch to one.
        image_size: Height and width of the pictures, in pixels.
        patch_size: Height and width of a patch, in pixels.
        positions: How many tokens a text may have.
        text: What else the text part's config says.
        vision: What else the vision part's config says.
        options: What else the config says.
    """

    model_class: str
    image_processor: str
    image_size: int
    patch_size: int
    positions: int
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


# Picture sizes, patches and text lengths are those of openai/clip-vit-base-patch32, google/siglip-base-patch16-224,
# Salesforce/blip-itm-base-coco and llava-hf/llava-1.5-7b-hf.
_KINDS = {
    "clip": _Kind("CLIPModel", "CLIPImageProcessor", 224, 32, 77, options={"projection_dim": 64}),
    "siglip": _Kind("SiglipModel", "SiglipImageProcessor", 224, 16, 64),
    "blip": _Kind(
        "BlipForImageTextRetrieval",
        "BlipImageProcessor",
        384,
        16,
        512,
        text={"encoder_hidden_size": 64, "sep_token_id": _END_ID},
        options={"projection_dim": 64, "image_text_hidden_size": 64},
    ),
    "llava": _Kind(
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
KINDS = tuple(_KINDS)
"""The kinds of models that there are stand-ins for."""


def write_model_folder(kind: str, folder: Path) -> None:
    """Write a stand-in's config, weights, tokenizer and processor.

    Args:
        kind: One of :data:`KINDS`.
        folder: Where to; made if needed.
    """
    import transformers

    from mmgrad_explain.composers.huggingface.loading import silent

    made = _KINDS[kind]
    square = {"height": made.image_size, "width": made.image_size}
    sizes = (
        {"size": {"shortest_edge": made.image_size}, "crop_size": square}
        if made.image_processor == "CLIPImageProcessor"
        else {"size": square}
    )
    pictures = getattr(transformers, made.image_processor)(**sizes)
    words = _tokenizer(lowercase=kind != "llava")
    with silent():
        model = _model(made, len(words))
        if kind == "llava":
            _speak(model, words)
            transformers.LlavaProcessor(
                image_processor=pictures,
                tokenizer=words,
                patch_size=made.patch_size,
                vision_feature_select_strategy="default",
                image_token=_IMAGE,
                num_additional_image_tokens=1,
            ).save_pretrained(folder)
        else:
            words.save_pretrained(folder)
            pictures.save_pretrained(folder)
        model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # which are written so that nobody else can read them
        weights.chmod((folder / "config.json").stat().st_mode)


def _tokenizer(*, lowercase: bool) -> Any:
    """Byte pairs (Sennrich et al., arXiv 1508.07909) learnt from everyday words; bytes for all else."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer(models.BPE())
    if lowercase:
        own.normalizer = normalizers.Lowercase()
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    own.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=_BYTES + len(_SPECIAL) + 4 * len(WORDS.split()),
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    own.train_from_iterator([" ".join(WORDS.split())], trainer)
    own.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}" if lowercase else f"{_START} $A",
        special_tokens=[(one, _SPECIAL.index(one)) for one in (_START, _END)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=own, pad_token=_PAD, bos_token=_START, eos_token=_END)


def _model(made: _Kind, vocabulary: int) -> Any:
    """The model with its random weights; those of its class would hardly let a text through."""
    import torch
    import transformers

    model_class = getattr(transformers, made.model_class)
    vision = {**_SIZES, **made.vision, "image_size": made.image_size, "patch_size": made.patch_size}
    text = {**_SIZES, **_IDS, **made.text, "vocab_size": vocabulary, "max_position_embeddings": made.positions}
    config = model_class.config_class(vision_config=vision, text_config=text, **made.options)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = model_class(config).eval()
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.normal_(0, 1 if _TABLES.search(name) else value[0].numel() ** -0.5)
                value.mul_(2 if _ATTENDING.search(name) else 1)
    return model


def _speak(model: Any, tokenizer: Any) -> None:
    """Have a model that answers say a few everyday words, rather than nothing, or parts of words without end."""
    settings = model.generation_config
    said = {_END_ID, *(tokenizer.convert_tokens_to_ids(f"\u0120{word}") for word in WORDS.split())}
    settings.suppress_tokens = sorted(set(range(len(tokenizer))) - said)
    settings.begin_suppress_tokens = [_END_ID]
    settings.no_repeat_ngram_size = 1
    settings.exponential_decay_length_penalty = (3, 1.5)
