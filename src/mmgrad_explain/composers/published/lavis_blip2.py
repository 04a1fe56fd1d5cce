"""Read BLIP-2 with the names of LAVIS, as SPRC's checkpoints have them.

Names and sizes are those of the public code of BLIP-2 (Li et al., arXiv 2301.12597) with its ViT-g, and of SPRC (Bai
et al., arXiv 2310.05473). What a checkpoint holds for training alone is left out: learned prompts, a language-model
head.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.huggingface.families.blip import QueryComposer
from mmgrad_explain.composers.huggingface.family import contrastive_families
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.load import fetch
from mmgrad_explain.composers.published.weight_files import weights_in
from mmgrad_explain.composers.sprc.composer import LONGEST, SprcComposer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HEAD_WIDTHS = {"vision": 88, "qformer": 64}
"""Width of an attention head in ViT-g and in the Q-Former; no shape in the file tells it."""
_LAST_NORM_EPS = 1e-5
_MORE = ("Qformer.cls.", "Qformer.bert.embeddings.position_ids", "prompt_tokens", "temp")
_RENAMED = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"^vision_model\.encoder\.layers\.", "visual_encoder.blocks."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^embeddings\.", "Qformer.bert.embeddings."),
    (r"^qformer\.layernorm\.", "Qformer.bert.embeddings.LayerNorm."),
    (r"^qformer\.", "Qformer.bert."),
    (r"attention\.attention\.", "attention.self."),
    (r"^(vision|text)_projection\.", r"\1_proj."),
)


def read_sprc(held: Mapping[str, Any], file: str | Path, processor: str | Path | None) -> SprcComposer:
    """Read an SPRC checkpoint as a composer.

    Args:
        held: The file's content; the weights may be under the name of their class.
        file: Where it is from, for messages.
        processor: Folder or hub id of a BLIP-2 of transformers, for its image processor and tokenizer.

    Raises:
        InputError: The file holds no such model, or no processor is named.
    """
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    if processor is None:
        raise InputError(
            f"tower: {file} holds no tokenizer: name a folder or hub id of BLIP-2 whose image processor and tokenizer "
            "are taken, such as Salesforce/blip2-itm-vit-g"
        )
    weights = weights_in(held, ("Blip2QformerCirAlignPrompt", "model", "state_dict"), file)
    model = Blip2ForImageTextRetrieval(Blip2Config(**_config(weights, file)))
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    missing: list[str] = []
    for name, value in model.state_dict().items():
        old = published_name(name)
        parts = [old] if not old.endswith(".qkv.bias") else [old.replace("qkv.bias", f"{one}_bias") for one in "qv"]
        missing += [part for part in parts if part not in weights]
        if not missing:
            query, *more = (weights[part] for part in parts)
            found[name] = torch.cat([query, torch.zeros_like(query), *more]) if more else query.reshape(value.shape)
        used.update(parts)
    extra = [name for name in weights if name not in used and not name.startswith(_MORE)]
    for what, names in (("lacks", missing), ("has", extra)):
        if names:
            rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(f"{file} is no SPRC of BLIP-2's ViT-g: it {what} {', '.join(names[:3])}{rest}")
    model.load_state_dict(found)
    composer = SprcComposer(_tower(model, processor), "sprc", _LAST_NORM_EPS)
    if "temp" in weights:
        with torch.no_grad():
            composer.logit_scale.fill_(-math.log(float(weights["temp"])))
    return composer.eval()


def published_name(name: str) -> str:
    """Return LAVIS's name of a weight of transformers' ``Blip2ForImageTextRetrieval``."""
    for pattern, old in _RENAMED:
        name = re.sub(pattern, old, name)
    return name


def _tower(model: Any, processor: str | Path) -> QueryComposer:
    folder = Path(processor).expanduser()
    if not folder.is_dir():
        folder = fetch(str(processor), ["*.json", "*.txt"], "give a local folder of BLIP-2's processor")
    prepared = HuggingFaceProcessor.from_pretrained(folder, LONGEST, fixed_length=False)
    side = model.config.vision_config.image_size
    if prepared.image_size != side:
        raise InputError(f"tower: its images are of {prepared.image_size} pixels, those of the weights of {side}")
    words, known = len(prepared.tokenizer), model.config.qformer_config.vocab_size
    if words > known:
        raise InputError(f"tower: its tokenizer knows {words} tokens, the weights {known}: take BLIP-2's own")
    return QueryComposer(model.float(), prepared, contrastive_families()["blip-2"], "blip-2")


def _config(weights: Mapping[str, Tensor], file: str | Path) -> dict[str, Any]:
    """Read the sizes of the model from the shapes of its weights."""
    try:
        width, _, patch, _ = weights["visual_encoder.patch_embed.proj.weight"].shape
        side = round((weights["visual_encoder.pos_embed"].shape[-2] - 1) ** 0.5)
        words, inner = weights["Qformer.bert.embeddings.word_embeddings.weight"].shape
        vision = {
            "hidden_size": width, "patch_size": patch, "image_size": patch * side, "layer_norm_eps": 1e-6,
            "intermediate_size": len(weights["visual_encoder.blocks.0.mlp.fc1.bias"]),
            "num_hidden_layers": len(_numbers(weights, r"visual_encoder\.blocks\.(\d+)\.norm1\.weight")),
            "num_attention_heads": max(1, width // HEAD_WIDTHS["vision"]), "qkv_bias": True,
        }  # fmt: skip
        crossed = _numbers(weights, r"Qformer\.bert\.encoder\.layer\.(\d+)\.crossattention\.self\.query\.weight")
        layers = len(_numbers(weights, r"Qformer\.bert\.encoder\.layer\.(\d+)\.attention\.self\.query\.weight"))
        qformer = {
            "vocab_size": words, "hidden_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": max(1, inner // HEAD_WIDTHS["qformer"]), "encoder_hidden_size": width,
            "intermediate_size": len(weights["Qformer.bert.encoder.layer.0.intermediate.dense.bias"]),
            "max_position_embeddings": len(weights["Qformer.bert.embeddings.position_embeddings.weight"]),
            "cross_attention_frequency": crossed[1] - crossed[0] if len(crossed) > 1 else layers,
            "use_qformer_text_input": True,
        }  # fmt: skip
        return {
            "vision_config": vision, "qformer_config": qformer, "num_query_tokens": weights["query_tokens"].shape[1],
            "image_text_hidden_size": len(weights["text_proj.bias"]),
        }  # fmt: skip
    except KeyError as error:
        raise InputError(f"{file} is no SPRC of BLIP-2's ViT-g: it lacks {error.args[0]}") from error


def _numbers(weights: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(found[1]) for name in weights if (found := re.fullmatch(pattern, name)))
