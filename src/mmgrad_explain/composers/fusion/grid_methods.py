"""Methods of composed image retrieval that read the patches; see :mod:`mmgrad_explain.composers.fusion.methods`."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.composers.fusion.methods import Fusion, MethodImages, MethodTexts, Sizes, open_gate, require
from mmgrad_explain.composers.reference.text_encoder import Attention
from mmgrad_explain.errors import InputError


class TirgSpatial(Fusion):
    """Text-image residual gating on the feature grid, before it is pooled.

    ``F = w_g sigmoid(W_g2 # relu(W_g1 # [A, t])) * A + w_r W_r2 # relu(W_r1 # [A, t])``, with ``#`` a convolution of
    3 x 3 and ``t`` repeated at every position, and ``f = i + W_o mean_p(F_p - A_p)``. Source: Vo et al., arXiv
    1812.07119, the variant on the last convolution's output. In the paper the changed grid passes through the tower's
    pooling and last layer; here a separate linear layer reads the change, so that the method fits any tower.

    Args:
        sizes: Of the tower.
        width: Channels of the hidden layers.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"grid"})

    def __init__(self, sizes: Sizes, *, width: int = 256) -> None:
        super().__init__()
        before, after = sizes.grid_width + sizes.embed_dim, sizes.grid_width
        self.gate = nn.Sequential(
            nn.Conv2d(before, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, after, 3, 1, 1), nn.Sigmoid()
        )
        self.residual = nn.Sequential(nn.Conv2d(before, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, after, 3, 1, 1))
        open_gate(self.gate)
        self.weights = nn.Parameter(torch.ones(2))
        self.out = nn.Linear(after, sizes.embed_dim, bias=False)

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`~mmgrad_explain.composers.fusion.methods.Fusion`."""
        grid = require(image.grid)
        both = torch.cat([grid, require(text.pooled)[:, :, None, None].expand(-1, -1, *grid.shape[2:])], dim=1)
        mixed = self.weights[0] * self.gate(both) * grid + self.weights[1] * self.residual(both)
        return image.pooled + self.out((mixed - grid).mean((2, 3)))  # type: ignore[no-any-return]


class FilmBlock(nn.Module):
    """``h = relu(W_1 x)``, ``y = relu((1 + g) * norm(W_3 # h) + b)``, ``h + y``, with ``g`` and ``b`` from the text.

    The normalisation is over a sample's channels and positions, instead of the paper's over the batch.
    """

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width, width, 1)
        self.look = nn.Conv2d(width, width, 3, 1, 1)
        self.norm = nn.GroupNorm(1, width, affine=False)
        self.modulation = nn.Linear(embed_dim, 2 * width)

    def forward(self, grid: Tensor, sentence: Tensor) -> Tensor:
        """Modulate a grid ``(B, W, h, w)`` by texts ``(B, D)``."""
        entered = F.relu(self.enter(grid))
        gain, bias = self.modulation(sentence)[:, :, None, None].chunk(2, dim=1)
        return entered + F.relu((1 + gain) * self.norm(self.look(entered)) + bias)


class Film(Fusion):
    """Feature-wise linear modulation of the feature grid by the text.

    ``x_0 = relu(W_0 A)``, ``x_k = block_k(x_{k-1}, t)`` (:class:`FilmBlock`), ``f = i + W_o mean_p(x_{K,p})``. Source:
    Perez et al., arXiv 1709.07871, sections 2 and 3. The paper pools the maximum over the positions; here it
    is the mean: a maximum has a gradient at one position only. There are no maps of coordinates, since the patches have
    positions already.

    Args:
        sizes: Of the tower.
        width: Channels of the blocks.
        blocks: How many.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"grid"})

    def __init__(self, sizes: Sizes, *, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.enter = nn.Conv2d(sizes.grid_width, width, 1)
        self.blocks = nn.ModuleList(FilmBlock(width, sizes.embed_dim) for _ in range(blocks))
        self.out = nn.Linear(width, sizes.embed_dim)

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`~mmgrad_explain.composers.fusion.methods.Fusion`."""
        grid = F.relu(self.enter(require(image.grid)))
        for block in self.blocks:
            grid = block(grid, require(text.pooled))
        return image.pooled + self.out(grid.mean((2, 3)))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """A pre-norm transformer block: optional self-attention, attention to a memory, an MLP."""

    def __init__(self, width: int, heads: int, *, itself: bool) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(width) if itself else None
        self.itself = Attention(width, heads) if itself else None
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, mask: Tensor, memory: Tensor, memory_mask: Tensor, askers: int | None = None
    ) -> Tensor:
        """Have tokens attend to a memory.

        Args:
            x: Tokens, ``(B, N, W)``.
            mask: True for tokens that can be attended to, ``(B, N)``.
            memory: ``(B, M, W)``.
            memory_mask: True for parts of the memory that can be attended to, ``(B, M)``.
            askers: How many of the first tokens attend to the memory; None for all.
        """
        if self.itself is not None and self.norm0 is not None:
            y = self.norm0(x)
            x = x + self.itself(y, y, mask)
        first, rest = x[:, :askers], x[:, x.shape[1] if askers is None else askers :]
        first = first + self.attention(self.norm1(first), memory, memory_mask)
        x = torch.cat([first, rest], dim=1)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class CrossAttention(Fusion):
    """Patches attend to words, or words to patches, and the result is pooled.

    ``x_0 = W_q X``, ``x_k = block_k(x_{k-1}, W_m M)`` (:class:`CrossBlock`: ``x + attention(x, M)``, then an MLP),
    ``f = i + W_o norm(mean(x_K))``, with ``X`` the patches and ``M`` the words, or the other way round. Sources: the
    attention of Vaswani et al., arXiv 1706.03762; for composed retrieval, words read patches in Levy et
    al., arXiv 2303.09429, and patches read the text in Chen et al., VAL, CVPR 2020.

    Args:
        sizes: Of the tower.
        width: Of the tokens.
        heads: Of the attention.
        layers: How many blocks.
        asks: ``"patches"`` attend to the words, or ``"words"`` to the patches.

    Raises:
        InputError: If ``asks`` is neither, or ``heads`` do not divide ``width``.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"grid", "words"})

    def __init__(
        self,
        sizes: Sizes,
        *,
        width: int = 256,
        heads: int = 8,
        layers: int = 2,
        asks: Literal["patches", "words"] = "patches",
    ) -> None:
        super().__init__()
        if asks not in {"patches", "words"}:
            raise InputError(f"asks must be 'patches' or 'words', not {asks!r}")
        _check_heads(width, heads)
        self.asks = asks
        self.patches = nn.Linear(sizes.grid_width, width)
        self.words = nn.Linear(sizes.word_width, width)
        self.blocks = nn.ModuleList(CrossBlock(width, heads, itself=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sizes.embed_dim)

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`~mmgrad_explain.composers.fusion.methods.Fusion`."""
        patches, words = self.patches(_tokens(image.grid)), self.words(require(text.words))
        seen = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        x, mask, memory, memory_mask = (
            (patches, seen, words, text.mask) if self.asks == "patches" else (words, text.mask, patches, seen)
        )
        for block in self.blocks:
            x = block(x, mask, memory, memory_mask)
        weight = mask.to(x.dtype)[:, :, None]
        pooled = (x * weight).sum(1) / weight.sum(1).clamp(min=1)
        return image.pooled + self.out(self.norm(pooled))  # type: ignore[no-any-return]


class QFormer(Fusion):
    """Learned queries that read patches and text together.

    Queries ``Q`` and words attend to one another, then the queries read the patches: ``[x, e] = block([Q, W_e E], W_a
    A)`` a few times, ``f = W_o norm(mean(x))``. A gallery image is embedded without words. Sources: the Q-Former of Li
    et al., BLIP-2, arXiv 2301.12597; for composed retrieval Bai et al., SPRC, arXiv 2310.05473. Here it is small and
    trained from scratch.

    Args:
        sizes: Of the tower.
        width: Of the queries.
        heads: Of the attention.
        layers: How many blocks.
        queries: How many.

    Raises:
        InputError: If ``heads`` do not divide ``width``.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"grid", "words"})

    def __init__(self, sizes: Sizes, *, width: int = 256, heads: int = 8, layers: int = 2, queries: int = 32) -> None:
        super().__init__()
        _check_heads(width, heads)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.5)
        self.patches = nn.Linear(sizes.grid_width, width)
        self.words = nn.Linear(sizes.word_width, width)
        self.blocks = nn.ModuleList(CrossBlock(width, heads, itself=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sizes.embed_dim)

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`~mmgrad_explain.composers.fusion.methods.Fusion`."""
        memory, words = self.patches(_tokens(image.grid)), self.words(require(text.words))
        seen = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        count = len(self.queries)
        x = torch.cat([self.queries.expand(len(memory), -1, -1), words], dim=1)
        mask = F.pad(text.mask, (count, 0), value=True)
        for block in self.blocks:
            x = block(x, mask, memory, seen, askers=count)
        return self.out(self.norm(x[:, :count].mean(1)))  # type: ignore[no-any-return]

    def without_text(self, image: MethodImages, nothing: MethodTexts) -> Tensor:
        """Have the queries read the image alone."""
        return self(image, nothing)  # type: ignore[no-any-return]


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise InputError(f"width must be a multiple of heads, got a width of {width} and {heads} heads")


def _tokens(grid: Tensor | None) -> Tensor:
    """Flatten a grid ``(B, C, h, w)`` to tokens ``(B, h w, C)``."""
    return require(grid).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
