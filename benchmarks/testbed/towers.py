"""Transformers, built small: CLIP, SigLIP and LLaVA of transformers; by hand a CLIP without residual, and a matcher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.attention import Layout
from mmgrad_explain.attention.model_hints import AnswerLayers, AnswerPositions
from testbed.networks import convolutions
from testbed.scenes import ATTRIBUTE_IDS, COLORS, END, IMAGE, PAD, SHAPES, START, TEXT_LENGTH, WORDS

_NEUTRAL = ("what", "is", "the", "object")
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
    from transformers.models.siglip.modeling_siglip import SiglipVisionEmbeddings

    class Embeddings(SiglipVisionEmbeddings):
        """Those of SigLIP with CLIP's norm after them, so that its trained blocks can follow."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.norm = nn.LayerNorm(width)

        def forward(self, *args: Any, **kwargs: Any) -> Tensor:
            return self.norm(super().forward(*args, **kwargs))

    text = {**_TEXT, "hidden_size": width, "vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH}
    text = {**text, "bos_token_id": 1, "eos_token_id": END, "pad_token_id": PAD, "projection_size": width}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision_sizes(width, layers, size, patch)))
    model.vision_model.embeddings = Embeddings(model.config.vision_config)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(0.0)
    return model


def build_llava(
    *, width: int, layers: int, size: int, patch: int, decoder_layers: int, channels: tuple[int, ...] = ()
) -> nn.Module:
    """Build transformers' LlavaForConditionalGeneration on a CLIP vision tower, with a stem or without, and a Llama.

    It says where its answers lie: the last token of a call is one, and the image's places follow the start.
    """
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    places = (size // patch) ** 2

    class Llava(LlavaForConditionalGeneration):
        def layout_for(self, layer: str, **_: Tensor) -> Layout | None:
            grid = (size // patch, size // patch)
            return Layout("tokens", grid, 1) if "language_model" in layer else None

        def answer_layers(self) -> AnswerLayers:
            name = "model.language_model"
            return AnswerLayers(name, tuple(f"{name}.layers.{index}" for index in range(decoder_layers)))

        def answer_positions(self, output: Any, **inputs: Tensor) -> AnswerPositions:
            ids = inputs["input_ids"]
            answer = torch.zeros_like(ids, dtype=torch.bool)
            answer[:, -1] = True
            question = (ids != PAD) & ~answer
            question[:, : 1 + places] = question[:, -2] = False
            neutral = torch.tensor([START, *[IMAGE] * places, *(WORDS.index(word) for word in _NEUTRAL), END])
            neutral = neutral.expand(len(ids), -1)
            return AnswerPositions(
                ids=ids, question=question, answer=answer, counted=answer,
                predicted=F.pad(output.logits[:, -2].gather(1, ids[:, -1:]), (ids.shape[1] - 1, 0)),
                token_logits=lambda hidden, tokens: F.linear(hidden, self.lm_head.weight[tokens]),
                neutral_inputs=lambda: {
                    "input_ids": neutral, "attention_mask": torch.ones_like(neutral),
                    "pixel_values": inputs["pixel_values"],
                },
            )  # fmt: skip

    decoder = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=96, intermediate_size=256, num_hidden_layers=decoder_layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256, pad_token_id=PAD, bos_token_id=1,
        eos_token_id=END,
    )  # fmt: skip
    model = Llava(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**vision_sizes(width, layers, size, patch)),
            text_config=decoder,
            image_token_index=IMAGE,
            image_token_id=IMAGE,
            image_seq_length=places,
        )
    )
    if channels:
        model.model.vision_tower.embeddings.patch_embedding = Stem(channels, width)
    decoder_model = model.model.language_model
    nn.init.normal_(decoder_model.embed_tokens.weight, std=0.1)
    with torch.no_grad():  # tokens attend to those like them at first
        for block in decoder_model.layers:
            for linear in (block.self_attn.q_proj, block.self_attn.k_proj):
                linear.weight.add_(0.7 * torch.eye(len(linear.weight)))
    return model


# ---------------------------------------------------------------------------------------------- written by hand


class Stem(nn.Sequential):
    """Convolutions in the place of one of patches, for faster learning (Xiao et al., arXiv 2106.14881)."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__(*convolutions(channels, deeper=(1, 2)), nn.Conv2d(channels[-1], width, 1))

    @property
    def weight(self) -> Tensor:
        """The last weight: towers of transformers ask for its type."""
        return self[-1].weight

    def start_from(self, stages: nn.Sequential) -> None:
        """Copy the stages of another network."""
        for own, other in zip(list(self)[:-1], stages, strict=False):
            own.load_state_dict(other.state_dict())


def name_cells(cells: Tensor, words: Tensor, bias: Tensor) -> Tensor:
    """Compare cells ``(B, cells, width)`` with the vectors of words: logits of what some cell fits, (B, PRESENT)."""
    fits = F.linear(cells, words[ATTRIBUTE_IDS], bias)
    colours, shapes = fits[..., : len(COLORS)], fits[..., len(COLORS) :][..., : len(SHAPES)]
    pairs = (colours[..., None] + shapes[..., None, :]).flatten(2)
    return torch.cat([pairs, fits], 2).amax(1)


def _stem(width: int, patch: int) -> nn.Sequential:
    """Two overlapping convolutions in the place of one of patches, for faster learning (Xiao et al., 2106.14881)."""
    return nn.Sequential(
        nn.Conv2d(3, width // 2, patch, patch // 2, patch // 4), nn.GELU(), nn.Conv2d(width // 2, width, 4, 2, 1)
    )


class _Block(nn.Module):
    """A block of a transformer, with or without a residual around its attention."""

    def __init__(self, width: int, heads: int, *, residual: bool, alike: float = 1.2) -> None:
        super().__init__()
        self.heads = heads
        self.residual = residual
        self.ln1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        with torch.no_grad():  # tokens attend to those like them at first; without residual all become one else
            same = torch.eye(width)
            start = torch.cat([alike * same, alike * same, same]) + 0.02 * torch.randn(3 * width, width)
            self.qkv.weight.copy_(start)
            self.out.weight.copy_((0.5 if residual else 1.0) * same + 0.02 * torch.randn(width, width))

    def forward(self, tokens: Tensor, known: Tensor | None = None) -> Tensor:
        batch, count, width = tokens.shape
        qkv = self.qkv(self.ln1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = None if known is None else known[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        tokens = tokens + mixed if self.residual else mixed
        return tokens + self.mlp(self.ln2(tokens))


class PlainClip(nn.Module):
    """A CLIP-like pair of towers, written by hand: class token, no residual around attention.

    Returns the unit embeddings of image and text and the scale of their cosine.
    """

    def __init__(self, *, width: int, layers: int, size: int, patch: int, heads: int = 4, embed: int = 64) -> None:
        super().__init__()
        self.patches = _stem(width, patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + (size // patch) ** 2, width))
        self.blocks = nn.ModuleList(_Block(width, heads, residual=False) for _ in range(layers))
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


class JointMatcher(nn.Module):
    """One transformer over a class token, the words and the cells of a convolutional stem.

    As ViLT (Kim et al., arXiv 2102.03334), with the convolutions of Pixel-BERT (Huang et al., arXiv 2004.00849) in the
    place of one of patches. Returns the logit that sentence and image match, ``(B,)``.
    """

    def __init__(self, *, width: int, layers: int, size: int, channels: tuple[int, ...], heads: int = 4) -> None:
        super().__init__()
        self.patches = Stem(channels, width)
        self.words = nn.Embedding(len(WORDS), width)
        self.named = nn.Parameter(torch.full((len(ATTRIBUTE_IDS),), -2.0))
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.word_positions = nn.Parameter(0.02 * torch.randn(1, TEXT_LENGTH, width))
        self.patch_positions = nn.Parameter(0.02 * torch.randn(1, (size >> len(channels)) ** 2, width))
        self.before = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, heads, residual=True, alike=0.7) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.match = nn.Linear(width, 1)
        self.hidden = nn.Linear(width, width)
        nn.init.normal_(self.words.weight, std=0.1)

    def look(self, images: Tensor) -> Tensor:
        """Return the cells of images ``(B, 3, S, S)``, ``(B, cells, width)``."""
        found: Tensor = self.patches(images).flatten(2).transpose(1, 2)
        return found

    def name(self, cells: Tensor) -> Tensor:
        """Return logits of what is somewhere in the image, ``(B, PRESENT)``: to align cells with words."""
        return name_cells(cells, self.words.weight, self.named)

    def see(self, cells: Tensor, ids: Tensor) -> Tensor:
        """Return the tokens of cells with sentences ``(B, L)``: class token, words, cells."""
        words = self.words(ids) + self.word_positions[:, : ids.shape[1]]
        cells = cells + self.patch_positions
        tokens = self.before(torch.cat([self.class_token.expand(len(ids), -1, -1), words, cells], 1))
        known = F.pad(ids != PAD, (1, cells.shape[1]), value=True)
        for block in self.blocks:
            tokens = block(tokens, known)
        found: Tensor = self.norm(tokens)
        return found

    def guess(self, tokens: Tensor) -> Tensor:
        """Return logits of the hidden words that stand at tokens ``(N, width)``, ``(N, words)``."""
        return F.linear(self.hidden(tokens), self.words.weight)

    def layout_for(self, layer: str, *, ids: Tensor, **_: Tensor) -> Layout | None:
        """Say where the cells stand in a layer's tokens: after the class token and the words."""
        side = round(self.patch_positions.shape[1] ** 0.5)
        return None if layer.startswith("patches") else Layout("tokens", (side, side), 1 + ids.shape[1])

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Match images with sentences."""
        return self.match(self.see(self.look(images), ids)[:, 0])[:, 0]


class MeanClip(nn.Module):
    """CLIP that reads the mean of its patches in the place of its class token, as many vision transformers do."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.clip: Any = build_clip(**sizes)

    @property
    def logit_scale(self) -> Tensor:
        """The logarithm of the scale of cosines."""
        scale: Tensor = self.clip.logit_scale
        return scale

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Embed images, ``(B, D)``."""
        vision = self.clip.vision_model
        tokens = vision.encoder(inputs_embeds=vision.pre_layrnorm(vision.embeddings(pixel_values))).last_hidden_state
        found: Tensor = self.clip.visual_projection(vision.post_layernorm(tokens[:, 1:]).mean(1))
        return found

    def get_text_features(self, input_ids: Tensor) -> Tensor:
        """Embed texts, ``(B, D)``."""
        return _vector(self.clip.get_text_features(input_ids=input_ids))

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Any:
        """Embed both, as CLIPModel does."""
        from transformers.models.clip.modeling_clip import CLIPOutput

        image, text = embed_pairs(self, pixel_values, input_ids)
        return CLIPOutput(image_embeds=image, text_embeds=text)


def start_from(model: Any, first: Any) -> None:
    """Start a model from the trained convolutions of the relation network, or from a trained CLIP."""
    if isinstance(model, MeanClip):
        model.clip.load_state_dict(first.state_dict())
        return
    if isinstance(model, JointMatcher):
        model.patches.start_from(first.stages)
        return
    if hasattr(first, "stages"):
        model.model.vision_tower.embeddings.patch_embedding.start_from(first.stages)
        return
    tower = first.vision_model
    if hasattr(model, "model"):
        model.model.vision_tower.load_state_dict(tower.state_dict())
        return
    patches, positions = tower.embeddings.patch_embedding.weight, tower.embeddings.position_embedding.weight[1:]
    with torch.no_grad():
        vision = model.vision_model
        vision.embeddings.patch_embedding.weight.copy_(patches)
        vision.embeddings.patch_embedding.bias.zero_()
        vision.embeddings.position_embedding.weight.copy_(positions)
        vision.embeddings.norm.load_state_dict(tower.pre_layrnorm.state_dict())
        vision.encoder.load_state_dict(tower.encoder.state_dict())


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
