"""The reference composer's network, in plain torch.

It composes an image with a text::

    z(I, T) = z_id(A) + D(A, T)        A = features(I), the spatial grid before any text is mixed in

``z_id`` embeds the image, ``D`` is the change that the text makes. Without words ``D`` is exactly zero, so the same
network embeds a gallery image with an empty text.

The visual backbone is timm's (see :mod:`mmgrad_explain.composers.reference.transformers_model`). timm takes over a
second to import, so the bundled weights run on :class:`PlainResNet`, the same layers with the same names; a test
compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain._system.user_files import quote
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of :class:`ReferenceNetwork`.

    Attributes:
        image_size: Side of the square input, pixels.
        vocab_size: Number of words of the tokenizer, including padding and the unknown word.
        max_words: Longest text, tokens.
        text_width: Width of the text encoder and of the composer.
        text_layers: Transformer blocks of the text encoder.
        heads: Attention heads of text encoder and composer.
        feature_width: Channels of the feature grid that is explained.
        embed_dim: Length of the embeddings.
        backbone: Name of a timm model that offers ``features_only``.
        backbone_options: Options of ``timm.create_model``; ``groups`` is the number of groups of GroupNorm.
    """

    image_size: int = 96
    vocab_size: int = 128
    max_words: int = 24
    text_width: int = 96
    text_layers: int = 2
    heads: int = 4
    feature_width: int = 96
    embed_dim: int = 128
    backbone: str = "resnet10t"
    backbone_options: dict[str, Any] = field(
        default_factory=lambda: {"layers": [1, 2, 2, 1], "channels": [32, 64, 128, 128], "stem_width": 16, "groups": 4}
    )

    def __post_init__(self) -> None:
        for name in ("image_size", "vocab_size", "max_words", "text_width", "text_layers", "heads", "feature_width",
                     "embed_dim"):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number from 1 on, not {quote(value)}")
        if self.text_width % self.heads or not isinstance(self.backbone_options, dict):
            raise InputError("heads must divide text_width, and backbone_options must be names with values")

    @property
    def grid(self) -> int:
        """Side of the feature grid: a quarter of the input's."""
        return self.image_size // 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a shortcut, named as timm names them."""

    def __init__(self, in_channels: int, channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.GroupNorm(groups, channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != channels:
            pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
            self.downsample = nn.Sequential(
                pool, nn.Conv2d(in_channels, channels, 1, bias=False), nn.GroupNorm(groups, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, in_channels, h, w) -> (B, channels, h / stride, w / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class PlainResNet(nn.Module):
    """The first three stages of timm's ``resnet10t`` with GroupNorm; state dicts are interchangeable.

    Args:
        layers: Blocks of each stage; a fourth entry, which timm needs, is ignored.
        channels: Channels of each stage, likewise.
        stem_width: Half the stem's output channels.
        groups: Groups of every GroupNorm.
    """

    def __init__(self, layers: list[int], channels: list[int], stem_width: int, groups: int) -> None:
        super().__init__()
        first = 3 * (stem_width // 4)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.GroupNorm(groups, first), nn.ReLU(),
            nn.Conv2d(first, stem_width, 3, 1, 1, bias=False), nn.GroupNorm(groups, stem_width), nn.ReLU(),
            nn.Conv2d(stem_width, 2 * stem_width, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.bn1 = nn.GroupNorm(groups, 2 * stem_width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width = 2 * stem_width
        for stage, (depth, out) in enumerate(zip(layers[:3], channels[:3], strict=True), start=1):
            blocks = [
                BasicBlock(width if i == 0 else out, out, 2 if stage > 1 and i == 0 else 1, groups)
                for i in range(depth)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            width = out

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute three maps at strides 4, 8 and 16 of pixels ``(B, 3, H, W)``."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(pixels))))
        maps = []
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps


class Attention(nn.Module):
    """Multi-head attention in plain operations, because the fused kernels have no second derivative."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Have ``x`` (B, N, W) attend to ``memory`` (B, L, W) where ``mask`` (B, L) is true."""
        batch, _, width = x.shape
        split = (batch, -1, self.heads, width // self.heads)
        query = self.query(x).view(split).transpose(1, 2)
        key, value = (part.reshape(split).transpose(1, 2) for part in self.key_value(memory).chunk(2, dim=-1))
        logits = query @ key.transpose(-1, -2) * split[-1] ** -0.5
        logits = logits.masked_fill(~mask[:, None, None, :], torch.finfo(logits.dtype).min)
        mixed = logits.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, -1, width))  # type: ignore[no-any-return]


class TextBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute ``(B, L, W) -> (B, L, W)``."""
        y = self.norm1(x)
        x = x + self.attention(y, y, mask)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Word embeddings, positions, a few transformer blocks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.text_width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(config.max_words, config.text_width) * 0.02)
        self.blocks = nn.ModuleList(TextBlock(config.text_width, config.heads) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.text_width)

    def forward(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ids and mask ``(B, L)``: word vectors ``(B, L, W)`` and their mean ``(B, W)``."""
        x = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        weights = mask[..., None].to(x.dtype)
        return x, (x * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class Neck(nn.Module):
    """Merges three backbone maps to one grid at stride 4 (a small feature pyramid), with learned positions."""

    def __init__(self, channels: list[int], width: int, grid: int, groups: int = 8) -> None:
        super().__init__()
        mix = 0.1 * torch.randn(width, POSITION_CODES)
        self.positions = nn.Parameter((mix @ position_codes(grid // 2, mix).T).view(width, grid // 2, grid // 2))
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.Sequential(nn.GroupNorm(groups, width), nn.GELU(), nn.Conv2d(width, width, 3, 1, 1))
        self.project = nn.Sequential(nn.GroupNorm(groups, width), nn.GELU(), nn.Conv2d(width, width, 1), nn.ReLU())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Merge maps at strides 4, 8, 16 to ``(B, width, H / 4, W / 4)``, non-negative."""
        fine, middle, coarse = (lateral(m) for lateral, m in zip(self.lateral, maps, strict=True))
        middle = self.smooth(middle + F.interpolate(coarse, size=middle.shape[-2:], mode="nearest") + self.positions)
        return self.project(fine + F.interpolate(middle, size=fine.shape[-2:], mode="bilinear"))  # type: ignore[no-any-return]


POSITION_CODES = 10


def position_codes(side: int, like: Tensor) -> Tensor:
    """Encode the positions of a square grid: row and column, and two waves of each, ``(side * side, POSITION_CODES)``.

    Args:
        side: Tokens in a row.
        like: A tensor of the wanted type and device.
    """
    axis = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side * 2 - 1
    waves = [axis, *(wave(math.pi * n * axis) for n in (1, 2) for wave in (torch.sin, torch.cos))]
    return torch.cat([torch.stack(torch.meshgrid(wave, wave, indexing="ij")).flatten(1) for wave in waves]).T


class GridPositions(nn.Module):
    """Adds its position to every token of a square grid.

    Args:
        width: Of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(POSITION_CODES, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute ``(B, side * side, W) -> (B, side * side, W)``."""
        return tokens + self.project(position_codes(math.isqrt(tokens.shape[1]), tokens))  # type: ignore[no-any-return]


class Pooling(nn.Module):
    """Attention pooling with the sentence as its query.

    Attributes:
        where: An ``Identity`` whose output is the attention's logits, ``(B, heads, tokens)``: a module to hook.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.where = nn.Identity()

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """Pool tokens ``(B, N, W)`` for sentences ``(B, W)``: ``(B, W)``."""
        split = (*x.shape[:2], self.heads, -1)
        query = self.query(sentence).view(x.shape[0], 1, self.heads, -1)
        attention = self.where((self.key(x).view(split) * query).sum(-1).transpose(1, 2)).softmax(-1)
        return (attention[..., None] * self.value(x).view(split).transpose(1, 2)).sum(2).flatten(1)  # type: ignore[no-any-return]


class ShiftComposer(nn.Module):
    """``D(A, T)``: a text's change of an image's embedding.

    Image tokens (the features, 2x2 averaged) attend to the words (one cross-attention). A first pooling finds the other
    objects that the sentence names, and its result is added to each token ("left of the ring": where is the ring?). A
    second pooling finds what is changed. An MLP of its result and the sentence gives the shift.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.text_width
        self.places = GridPositions(config.feature_width)
        self.project = nn.Linear(config.feature_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.norm2 = nn.LayerNorm(width)
        self.context = Pooling(width, config.heads)
        self.hear = nn.Linear(2 * width, 2 * width)
        self.token = nn.Linear(width, 2 * width)
        self.update = nn.Linear(2 * width, width)
        self.norm3 = nn.LayerNorm(width)
        self.pooling = Pooling(width, config.heads)
        self.mlp = nn.Sequential(
            nn.Linear(2 * width, 4 * width), nn.GELU(),
            nn.Linear(4 * width, 4 * width), nn.GELU(),
            nn.Linear(4 * width, config.embed_dim),
        )  # fmt: skip

    def forward(self, features: Tensor, words: Tensor, sentence: Tensor, mask: Tensor) -> Tensor:
        """Shift ``(B, D)`` of features ``(B, C, g, g)``, words ``(B, L, W)``, sentence ``(B, W)``, mask ``(B, L)``."""
        x = self.project(self.places(F.avg_pool2d(features, 2).flatten(2).transpose(1, 2)))
        x = self.norm2(x + self.attention(self.norm1(x), words, mask))
        context = self.hear(torch.cat([self.context(x, sentence), sentence], dim=-1))
        x = self.norm3(x + self.update(F.gelu(self.token(x) + context[:, None])))
        shift = self.mlp(torch.cat([self.pooling(x, sentence), sentence], dim=-1))
        return shift * mask.any(1, keepdim=True)  # type: ignore[no-any-return]


class ReferenceNetwork(nn.Module):
    """Backbone, neck, text encoder and shift together.

    Args:
        config: Sizes.
        visual: The backbone: three maps of the pixels at strides 4, 8, 16.
        visual_channels: Channels of those maps.
    """

    def __init__(self, config: NetworkConfig, visual: nn.Module, visual_channels: list[int]) -> None:
        super().__init__()
        self.config = config
        self.visual = visual
        self.neck = Neck(visual_channels, config.feature_width, config.grid)
        self.features = nn.Identity()
        self.places = GridPositions(config.feature_width)
        self.identity = nn.Sequential(
            nn.Linear(config.feature_width, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU()
        )  # fmt: skip
        self.position_gain = nn.Linear(POSITION_CODES, 256)
        self.identity_out = nn.Linear(256, config.embed_dim)
        self.text = TextEncoder(config)
        self.shift = ShiftComposer(config)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode normalised pixels ``(B, 3, S, S)`` to the feature grid ``(B, C, S / 4, S / 4)``."""
        return self.neck(self.visual(pixel_values))  # type: ignore[no-any-return]

    def compose(self, features: Tensor, words: Tensor, sentence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ``z_id`` and ``D`` of feature grids and encoded texts, each ``(B, D)``. Maps are taken here."""
        features = self.features(features)
        return self.embed(features), self.shift(features, words, sentence, mask)

    def embed(self, features: Tensor) -> Tensor:
        """Compute ``z_id``, the embedding of an image alone, ``(B, D)``.

        Each token is weighted by its position before the mean over the tokens, so that the embedding of an image
        changes when an object moves.
        """
        tokens = self.identity(self.places(F.avg_pool2d(features, 2).flatten(2).transpose(1, 2)))
        gain = 1 + self.position_gain(position_codes(math.isqrt(tokens.shape[1]), features))
        return self.identity_out((tokens * gain).mean(1))  # type: ignore[no-any-return]

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """Compose images with texts.

        Args:
            pixel_values: Reference images, ``(B, 3, S, S)``, normalised.
            input_ids: Words, ``(B, L)``.
            attention_mask: 1 for words, 0 for padding, ``(B, L)``.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        mask = attention_mask.bool()
        words, sentence = self.text(input_ids, mask)
        identity, shift = self.compose(self.encode_image(pixel_values), words, sentence, mask)
        if target_pixel_values is None:
            return ComposedOutput(identity + shift, shift)
        target, target_shift = self.compose(self.encode_image(target_pixel_values), words, sentence, mask)
        return ComposedOutput(identity + shift, shift, target, target_shift, target + target_shift)
