"""Read BLIP-2 with the names of LAVIS, as SPRC's checkpoints have them.

Names and sizes are those of the public code of BLIP-2 (Li et al., arXiv 2301.12597) with either of its vision towers,
EVA's ViT-g (``pretrain``) and CLIP's ViT-L (``pretrain_vitL``), and of SPRC (Bai et al., arXiv 2310.05473). The head of
a language model, which a checkpoint holds for training alone, is left out.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mmgrad_explain._system.user_files import reading
from mmgrad_explain.composers.huggingface.families.blip import QueryComposer
from mmgrad_explain.composers.huggingface.family import contrastive_families
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.load import fetch
from mmgrad_explain.composers.published.weight_files import check_shapes, list_some, weights_in
from mmgrad_explain.composers.sprc.composer import SprcComposer
from mmgrad_explain.composers.sprc.processor import LONGEST
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.ratio_padding import TARGET_RATIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_QFORMER_HEAD = 64
_LAST_NORM_EPS = 1e-5
_LEFT_OUT = ("Qformer.cls.", "Qformer.bert.embeddings.position_ids")
_OWN = {"prompt_tokens": "learned"}
_REST = (
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^embeddings\.", "Qformer.bert.embeddings."),
    (r"^qformer\.layernorm\.", "Qformer.bert.embeddings.LayerNorm."),
    (r"^qformer\.", "Qformer.bert."),
    (r"attention\.attention\.", "attention.self."),
    (r"^(vision|text)_projection\.", r"\1_proj."),
)


class Tower(NamedTuple):
    """A vision tower of BLIP-2 in LAVIS's code.

    Attributes:
        title: What people call it.
        head_width: Width of an attention head; no shape in the file tells it.
        positions: Name of its position embeddings, by which it is recognised.
        patches: Of the convolution that makes patches.
        blocks: Beginning of the names of its blocks.
        hidden: Bias of the hidden layer of a block.
        first: Weight of a block's first norm.
        eps: Of the norms.
        activation: Of the blocks, as transformers names it.
        renamed: Patterns of the names of transformers, and the names here.
        zero: A weight of transformers' BLIP-2 that this tower does not have.
        own: Names of weights that transformers' BLIP-2 does not have, and their names in the composer.
    """

    title: str
    head_width: int
    positions: str
    patches: str
    blocks: str
    hidden: str
    first: str
    eps: float
    activation: str
    renamed: tuple[tuple[str, str], ...]
    zero: str | None
    own: dict[str, str]


_V = "visual_encoder."
TOWERS = (
    Tower(
        "ViT-g", 88, f"{_V}pos_embed", f"{_V}patch_embed.proj.weight", f"{_V}blocks.", "mlp.fc1.bias", "norm1.weight",
        1e-6, "gelu",
        (
            (r"^vision_model\.embeddings\.class_embedding$", f"{_V}cls_token"),
            (r"^vision_model\.embeddings\.position_embedding$", f"{_V}pos_embed"),
            (r"^vision_model\.embeddings\.patch_embedding\.", f"{_V}patch_embed.proj."),
            (r"^vision_model\.encoder\.layers\.", f"{_V}blocks."),
            (r"\.self_attn\.projection\.", ".attn.proj."),
            (r"\.self_attn\.qkv\.", ".attn.qkv."),
            (r"\.layer_norm(\d)\.", r".norm\1."),
        ),
        None, {},
    ),
    Tower(
        "ViT-L", 64, f"{_V}positional_embedding", f"{_V}conv1.weight", f"{_V}transformer.resblocks.", "mlp.c_fc.bias",
        "ln_1.weight", 1e-5, "quick_gelu",
        (
            (r"^vision_model\.embeddings\.class_embedding$", f"{_V}class_embedding"),
            (r"^vision_model\.embeddings\.position_embedding$", f"{_V}positional_embedding"),
            (r"^vision_model\.embeddings\.patch_embedding\.", f"{_V}conv1."),
            (r"^vision_model\.encoder\.layers\.", f"{_V}transformer.resblocks."),
            (r"\.self_attn\.projection\.", ".attn.out_proj."),
            (r"\.self_attn\.qkv\.(weight|bias)", r".attn.in_proj_\1"),
            (r"\.layer_norm(\d)\.", r".ln_\1."),
            (r"\.mlp\.fc1\.", ".mlp.c_fc."),
            (r"\.mlp\.fc2\.", ".mlp.c_proj."),
        ),
        f"{_V}conv1.bias", {f"{_V}ln_pre.weight": "first_norm.weight", f"{_V}ln_pre.bias": "first_norm.bias"},
    ),
)  # fmt: skip
"""The vision towers that can be read."""


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
    tower = tower_of(weights, file)
    what = f"SPRC on BLIP-2's {tower.title}"
    with reading(f"{file} is no {what}"):  # shapes of too few sides
        model = Blip2ForImageTextRetrieval(Blip2Config(**_config(weights, tower, file)))
    parts: dict[str, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    used = {*_OWN, *tower.own, "temp"}
    missing = [name for name in tower.own if name not in weights]
    for name, value in model.state_dict().items():
        parts[name] = _parts(published_name(name, tower), tower)
        missing += [part for part in parts[name] if part not in weights]
        used.update(parts[name])
        shapes[name] = tuple(value.shape)
    extra = [name for name in weights if name not in used and not name.startswith(_LEFT_OUT)]
    for does, names in (("lacks", missing), ("has", extra)):
        if names:
            raise InputError(f"{file} is no {what}: it {does} {list_some(names)}")
    with reading(f"{file} is no {what}"):
        model.load_state_dict({name: _join(weights, parts[name], shapes[name]) for name in shapes})
    composer = SprcComposer(
        _query_composer(model, processor), "sprc", _LAST_NORM_EPS, pad_ratio=TARGET_RATIO, first_norm=bool(tower.own)
    )
    own = composer.state_dict()
    there = {old: own[name] for old, name in (_OWN | tower.own).items() if old in weights}
    check_shapes(weights, {old: mine.shape for old, mine in there.items()}, f"{file}, an {what}")
    with torch.no_grad():
        for old, mine in there.items():
            mine.copy_(weights[old])
        if "temp" in weights:
            composer.logit_scale.fill_(-math.log(float(weights["temp"])))
    return composer.eval()


def tower_of(weights: Mapping[str, Tensor], file: str | Path) -> Tower:
    """Recognise the vision tower.

    Raises:
        InputError: It is none of :data:`TOWERS`.
    """
    found = next((tower for tower in TOWERS if tower.positions in weights), None)
    if found is None:
        known = " or ".join(f"{tower.positions} ({tower.title})" for tower in TOWERS)
        raise InputError(f"{file} is no SPRC: it has no vision tower of BLIP-2, neither {known}")
    return found


def published_name(name: str, tower: Tower) -> str:
    """Return LAVIS's name of a weight of transformers' ``Blip2ForImageTextRetrieval``."""
    for pattern, old in (*tower.renamed, *_REST):
        name = re.sub(pattern, old, name)
    return name


def _parts(name: str, tower: Tower) -> list[str]:
    """Return the weights in the file that one is made of; none for what is zero there."""
    if name.endswith(".qkv.bias"):  # ViT-g has no bias of keys
        return [name.replace("qkv.bias", f"{one}_bias") for one in "qv"]
    return [] if name == tower.zero else [name]


def _join(weights: Mapping[str, Tensor], parts: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """Make one weight of its parts in the file; the bias of a query-key-value layer gets zeros for the keys."""
    if not parts:
        return torch.zeros(shape)
    query, *more = (weights[part] for part in parts)
    if more:
        return torch.cat([query, torch.zeros_like(query), *more])
    found, wanted = ([side for side in one if side != 1] for one in (query.shape, shape))
    if found != wanted:
        raise ValueError(f"{parts[0]} is {' x '.join(map(str, found))}, not {' x '.join(map(str, wanted))}")
    return query.reshape(shape)


def _query_composer(model: Any, processor: str | Path) -> QueryComposer:
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


def _config(weights: Mapping[str, Tensor], tower: Tower, file: str | Path) -> dict[str, Any]:
    """Read the sizes of the model from the shapes of its weights."""
    try:
        width, _, patch, _ = weights[tower.patches].shape
        side = round((weights[tower.positions].shape[-2] - 1) ** 0.5)
        words, inner = weights["Qformer.bert.embeddings.word_embeddings.weight"].shape
        vision = {
            "hidden_size": width, "patch_size": patch, "image_size": patch * side, "layer_norm_eps": tower.eps,
            "intermediate_size": len(weights[f"{tower.blocks}0.{tower.hidden}"]), "hidden_act": tower.activation,
            "num_hidden_layers": len(_numbers(weights, rf"{re.escape(tower.blocks)}(\d+)\.{re.escape(tower.first)}")),
            "num_attention_heads": max(1, width // tower.head_width), "qkv_bias": True,
        }  # fmt: skip
        crossed = _numbers(weights, r"Qformer\.bert\.encoder\.layer\.(\d+)\.crossattention\.self\.query\.weight")
        layers = len(_numbers(weights, r"Qformer\.bert\.encoder\.layer\.(\d+)\.attention\.self\.query\.weight"))
        qformer = {
            "vocab_size": words, "hidden_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": max(1, inner // _QFORMER_HEAD), "encoder_hidden_size": width,
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
        raise InputError(f"{file} is no SPRC on BLIP-2's {tower.title}: it lacks {error.args[0]}") from error


def _numbers(weights: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(found[1]) for name in weights if (found := re.fullmatch(pattern, name)))
