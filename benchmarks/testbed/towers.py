"""Models of transformers, built small: CLIP, SigLIP, ViLT and LLaVA; and a CLIP without residual around attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from testbed.scenes import END, IMAGE, PAD, TEXT_LENGTH, WORDS

_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def vision_sizes(width: int, layers: int, size: int, patch: int) -> dict[str, int]:
    """Return the settings that the vision towers of transformers share."""
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "image_size": size,
        "patch_size": patch,
    }


def build_clip(*, width: int, layers: int, size: int, patch: int) -> nn.Module:
    """Build transformers' CLIPModel: class token, causal text tower."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        **_TEXT, "vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH, "bos_token_id": 1,
        "eos_token_id": END, "pad_token_id": PAD,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision_sizes(width, layers, size, patch), projection_dim=64)
    return CLIPModel(config)


def build_siglip(*, width: int, layers: int, size: int, patch: int) -> nn.Module:
    """Build transformers' SiglipModel: attention pooling in the vision tower."""
    from transformers import SiglipConfig, SiglipModel

    text = {**_TEXT, "hidden_size": width, "vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH}
    text = {**text, "bos_token_id": 1, "eos_token_id": END, "pad_token_id": PAD, "projection_size": width}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision_sizes(width, layers, size, patch)))
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-2.0)
    return model


def build_vilt(*, width: int, layers: int, size: int, patch: int) -> nn.Module:
    """Build transformers' ViltForImageAndTextRetrieval: one transformer over text and image, a logit for a match."""
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    text = {"vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH, "pad_token_id": PAD}
    config = ViltConfig(**vision_sizes(width, layers, size, patch), **text, hidden_act="quick_gelu", tie_word_embeddings=False)
    return ViltForImageAndTextRetrieval(config)


def build_llava(*, width: int, layers: int, size: int, patch: int, decoder_layers: int) -> nn.Module:
    """Build transformers' LlavaForConditionalGeneration on a CLIP vision tower and a small Llama."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    decoder = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=96, intermediate_size=256, num_hidden_layers=decoder_layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256, pad_token_id=PAD, bos_token_id=1,
        eos_token_id=END,
    )  # fmt: skip
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**vision_sizes(width, layers, size, patch)),
            text_config=decoder,
            image_token_index=IMAGE,
            image_token_id=IMAGE,
            image_seq_length=(size // patch) ** 2,
        )
    )


def start_from(model: Any, tower: Any) -> None:
    """Start a model that was built from the weights of a trained CLIP vision tower, as ViLT and LLaVA do."""
    if hasattr(model, "vilt"):
        model.vilt.embeddings.patch_embeddings.projection.weight.data.copy_(tower.embeddings.patch_embedding.weight)
        for block, trained in zip(model.vilt.encoder.layer, tower.encoder.layers, strict=True):
            inner = block.attention.attention
            pairs = {
                inner.query: trained.self_attn.q_proj,
                inner.key: trained.self_attn.k_proj,
                inner.value: trained.self_attn.v_proj,
                block.attention.output.dense: trained.self_attn.out_proj,
                block.intermediate.dense: trained.mlp.fc1,
                block.output.dense: trained.mlp.fc2,
                block.layernorm_before: trained.layer_norm1,
                block.layernorm_after: trained.layer_norm2,
            }
            for own, other in pairs.items():
                own.load_state_dict(other.state_dict())
    else:
        model.model.vision_tower.load_state_dict(tower.state_dict())


# ---------------------------------------------------------------------------------------------- written by hand


class _Block(nn.Module):
    """A block of a transformer whose attention has no residual around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        qkv = self.qkv(self.ln1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, count, width)
        tokens = self.out(mixed)
        return tokens + self.mlp(self.ln2(tokens))


class PlainClip(nn.Module):
    """A CLIP-like pair of towers, written by hand: class token, no residual around attention.

    Returns the unit embeddings of image and text and the scale of their cosine.
    """

    def __init__(self, *, width: int, layers: int, size: int, patch: int, heads: int = 4, embed: int = 64) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + (size // patch) ** 2, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)
        self.project = nn.Linear(width, embed, bias=False)
        self.words = nn.Embedding(len(WORDS), embed)
        self.text = nn.GRU(embed, embed, batch_first=True, bidirectional=True)
        self.text_project = nn.Linear(2 * embed, embed)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images, ``(B, embed)``."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return F.normalize(self.project(self.ln_post(tokens)[:, 0]), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Encode texts, ``(B, embed)``."""
        states, _ = self.text(self.words(ids))
        known = (ids != PAD)[..., None]
        return F.normalize(self.text_project((states * known).sum(1) / known.sum(1)), dim=-1)

    def forward(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode both."""
        return self.encode_image(images), self.encode_text(ids), self.logit_scale.exp()


def embed_pairs(model: Any, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit embeddings of images and texts, as many of each as there are."""
    if isinstance(model, PlainClip):
        return model.encode_image(images), model.encode_text(ids)
    image = model.get_image_features(pixel_values=images)
    text = model.get_text_features(input_ids=ids)
    return F.normalize(_vector(image), dim=-1), F.normalize(_vector(text), dim=-1)


def _vector(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found

