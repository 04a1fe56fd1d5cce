"""The reference composer's network, in plain torch.

It composes an image with a text::

    z(I, T) = z_id(A) + D(A, T)        A = features(I), the spatial grid before any text is mixed in

``z_id`` embeds the image, ``D`` is the change that the text makes. Without words ``D`` is exactly zero, so the same
network embeds a gallery image with an empty text.

The trunk, which makes feature maps of pixels, is any of timm's (:mod:`~mmgrad_explain.composers.reference.trunk`). timm
takes over a second to import, so the bundled weights run on plain twins of its models
(:mod:`~mmgrad_explain.composers.reference.plain_resnet`, :mod:`~mmgrad_explain.composers.reference.plain_mobilenet`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.composers.reference.named_parts import PartNames, PartSearch, place_parts
from mmgrad_explain.composers.reference.neck import POSITION_CODES, GridPositions, Neck, position_codes
from mmgrad_explain.composers.reference.part_pooling import ChannelReader, NamedChannels, PartPooling, PartShift
from mmgrad_explain.composers.reference.plain_resnet import PlainResNet
from mmgrad_explain.composers.reference.segmenter import Segmenter
from mmgrad_explain.composers.reference.text_encoder import Attention, TextEncoder
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from mmgrad_explain.composers.reference.config import NetworkConfig


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

    def forward(self, x: Tensor, sentence: Tensor, found: Tensor | None = None) -> Tensor:
        """Pool tokens ``(B, N, W)`` for sentences ``(B, W)``, with ``found`` ``(B, N)`` in the logits: ``(B, W)``."""
        split = (*x.shape[:2], self.heads, -1)
        query = self.query(sentence).view(x.shape[0], 1, self.heads, -1)
        logits = (self.key(x).view(split) * query).sum(-1).transpose(1, 2)
        attention = self.where(logits if found is None else logits + found[:, None]).softmax(-1)
        return (attention[..., None] * self.value(x).view(split).transpose(1, 2)).sum(2).flatten(1)  # type: ignore[no-any-return]


class ShiftComposer(nn.Module):
    """``D(A, T)``: a text's change of an image's embedding.

    Image tokens (the features, 2x2 averaged) attend to the words (one cross-attention). A first pooling finds the other
    objects that the sentence names, and its result is added to each token ("left of the ring": where is the ring?). A
    second pooling finds what is changed. An MLP of its result and the sentence gives the shift, and what changes in the
    parts.

    With named parts that pooling looks where what the sentence names is found, and the shift is proportional to how
    surely it is there. What it changes into depends on how places differ, so that Grad-CAM, which weighs a channel by
    what more of it everywhere would change, shows what is named. The hidden state is normalised: nothing in the maps
    holds the shift's length, and it would grow beyond all embeddings.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.text_width
        self.places = GridPositions(config.grid_width)
        self.project = nn.Linear(config.grid_width, width)
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
        self.parts = PartShift(4 * width, config.parts, config.looks + 1) if config.parts else None
        self.search = PartSearch(width) if config.named_parts else None
        self.settle = nn.LayerNorm(4 * width) if config.named_parts else None

    def forward(
        self,
        grid: Tensor,
        words: Tensor,
        sentence: Tensor,
        mask: Tensor,
        named: Tensor | None = None,
        parts: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Tensor:
        """Compute what the texts add to the embeddings.

        Args:
            grid: Features, 2x2 averaged, ``(B, C, g, g)``.
            words: ``(B, L, W)``.
            sentence: ``(B, W)``.
            mask: ``(B, L)``.
            named: What of which parts the texts name, ``(B, len(PLACED), K)``, if the network has named parts.
            parts: Parts of the images, ``(B, K, n)``, if the network has any.
            evidence: Of named parts, ``(B, len(PLACED) * K, g, g)``.

        Returns:
            ``(B, D)``.
        """
        found, amount = None, None
        if self.search is not None and evidence is not None and named is not None:
            found, amount = self.search(evidence, sentence, named)
            grid, named = grid - grid.mean((2, 3), keepdim=True), named.sum(1)
        x = self.project(self.places(grid.flatten(2).transpose(1, 2)))
        x = self.norm2(x + self.attention(self.norm1(x), words, mask))
        context = self.hear(torch.cat([self.context(x, sentence), sentence], dim=-1))
        x = self.norm3(x + self.update(F.gelu(self.token(x) + context[:, None])))
        hidden = self.mlp[:-1](torch.cat([self.pooling(x, sentence, found), sentence], dim=-1))
        hidden = hidden if self.settle is None else self.settle(hidden)
        shift = self.mlp[-1](hidden)
        if self.parts is not None and parts is not None:
            shift = torch.cat([shift, self.parts(hidden, parts, named).flatten(1)], dim=1)
        if amount is not None:
            shift = amount * shift
        return shift * mask.any(1, keepdim=True)  # type: ignore[no-any-return]


class ReferenceNetwork(nn.Module):
    """Trunk, neck, text encoder and shift together.

    Args:
        config: Sizes.
        visual: The trunk: two or more maps of the pixels, the finest first.
        visual_channels: Channels of those maps.
        strides: Pixels of the image by cell of those maps.
        described: Dotted names in the trunk of its first layer and of those of the maps.

    Attributes:
        described_layers: Dotted names of layers of several depths; the first takes the pixels.

    Raises:
        InputError: The side of the image is no multiple of the second map's stride.
    """

    def __init__(
        self,
        config: NetworkConfig,
        visual: nn.Module,
        visual_channels: Sequence[int],
        strides: Sequence[int] = (4, 8, 16),
        described: Sequence[str] = PlainResNet.described,
    ) -> None:
        super().__init__()
        if config.image_size % strides[1]:
            raise InputError(
                f"image_size must be a multiple of {strides[1]}, the stride of the second map of {config.backbone!r}, "
                f"not {config.image_size}"
            )
        self.config = config
        self.described_layers = (*(f"visual.{name}" for name in described), "neck")
        self.visual = visual
        self.named = None
        if config.parts:
            self.named = NamedChannels(visual_channels, config.parts, config.looks, given=config.named_parts)
        self.segmenter = Segmenter(visual_channels[-1], config.segmenter) if config.segmenter else None
        more = (config.segmenter,) if config.segmenter else ()
        self.neck = Neck((*visual_channels, *more), config.feature_width, config.image_size // strides[1])
        self.features = nn.Identity()
        self.places = GridPositions(config.grid_width)
        self.identity = nn.Sequential(
            nn.Linear(config.grid_width, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU()
        )  # fmt: skip
        self.position_gain = nn.Linear(POSITION_CODES, 256)
        self.settle = nn.LayerNorm(256) if config.named_parts else None
        self.identity_out = nn.Linear(256, config.embed_dim)
        self.parts = None
        if config.parts:
            readers = (
                ChannelReader(config.feature_width, config.parts),
                ChannelReader(config.feature_width + config.parts, config.looks),
            )
            self.parts = PartPooling(*readers)
        self.text = TextEncoder(config)
        self.names = PartNames(config.vocab_size, config.text_width, config.parts) if config.named_parts else None
        self.shift = ShiftComposer(config)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  (torch's signature)
        """Set the mode; with ``frozen_norm``, the trunk's batch norms stay in eval mode."""
        super().train(mode)
        if self.config.frozen_norm:
            for norm in batch_norms(self.visual):
                norm.eval()
        return self

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode normalised pixels ``(B, 3, S, S)`` to the feature grid ``(B, C, h, w)``, that of the first tap.

        The features of the neck come first, then the shares of the parts and of the looks, then those of named parts
        weighted by place.
        """
        maps = self.visual(pixel_values)
        logits = None if self.segmenter is None else self.segmenter(maps[-1]).float()
        features = self.neck(maps if logits is None else [*maps, logits.softmax(1)])
        if self.named is None:
            return features  # type: ignore[no-any-return]
        named = self.named(maps, pixel_values, logits if self.config.named_parts else None).to(features.dtype)
        placed = [place_parts(named[:, : self.config.parts])] if self.config.named_parts else []
        return torch.cat([features, named, *placed], dim=1)

    @property
    def embed_dim(self) -> int:
        """Length of the embeddings: the config's ``embed_dim`` plus the numbers of all parts."""
        return self.config.embed_dim + self.config.parts * (self.config.looks + 1)

    def encode_text(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Encode ids and mask ``(B, L)``.

        Returns:
            Word vectors ``(B, L, W)``, sentences ``(B, W)`` and the mask; with named parts, what of which of them the
            texts name, ``(B, len(PLACED), K)``.
        """
        words, sentence = self.text(input_ids, mask)
        if self.names is None:
            return words, sentence, mask
        return words, sentence, mask, self.names(input_ids, words, mask)

    def compose(self, features: Tensor, *text: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ``z_id`` and ``D`` of feature grids and encoded texts, each ``(B, D)``. Maps are taken here."""
        features = self.features(features)
        grid, parts = self._pool(features)
        return self._embed(grid, parts), self.shift(grid, *text, parts=parts, evidence=self._evidence(grid))

    def embed(self, features: Tensor) -> Tensor:
        """Compute ``z_id``, the embedding of an image alone, ``(B, D)``.

        Each token is weighted by its position before the mean over the tokens, so that the embedding of an image
        changes when an object moves. The numbers of the parts follow.
        """
        return self._embed(*self._pool(features))

    def change(self, features: Tensor, *text: Tensor) -> Tensor:
        """Compute ``D``, what encoded texts change in the embeddings, ``(B, D)``."""
        grid, parts = self._pool(features)
        return self.shift(grid, *text, parts=parts, evidence=self._evidence(grid))  # type: ignore[no-any-return]

    def _evidence(self, grid: Tensor) -> Tensor | None:
        """Return the channels of named parts: their shares, then those weighted by place."""
        if self.parts is None or not self.config.named_parts:
            return None
        shares = self.parts.parts.shares(grid)
        return torch.cat([shares, grid[:, self.config.feature_width + self.config.parts + self.config.looks :]], dim=1)

    def _pool(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Average the features, 2x2, and describe the parts that they show."""
        return F.avg_pool2d(features, 2), None if self.parts is None else self.parts(features)

    def _embed(self, grid: Tensor, parts: Tensor | None) -> Tensor:
        tokens = self.identity(self.places(grid.flatten(2).transpose(1, 2)))
        gain = 1 + self.position_gain(position_codes(math.isqrt(tokens.shape[1]), grid))
        hidden = (tokens * gain).mean(1)
        embedding = self.identity_out(hidden if self.settle is None else self.settle(hidden))
        if self.parts is None or parts is None:
            return embedding  # type: ignore[no-any-return]
        return torch.cat([embedding, self.parts.deviations(parts).flatten(1)], dim=1)

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
        text = self.encode_text(input_ids, attention_mask.bool())
        identity, shift = self.compose(self.encode_image(pixel_values), *text)
        if target_pixel_values is None:
            return ComposedOutput(identity + shift, shift)
        target, target_shift = self.compose(self.encode_image(target_pixel_values), *text)
        return ComposedOutput(identity + shift, shift, target, target_shift, target + target_shift)


def batch_norms(module: nn.Module) -> list[nn.Module]:
    """List the batch norms in a module, synchronised ones included."""
    return [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
