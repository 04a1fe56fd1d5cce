"""How composed image retrieval puts a picture and a text together: the methods of the literature as modules.

Each takes what a two-tower model gives, a :class:`Picture` and a :class:`Text`, to a composed embedding ``(B, D)`` in
the tower's own space. Written ``f(I, T)``, with ``i`` and ``t`` the towers' unit embeddings, ``A`` the patches of the
picture on their grid (``A_p`` at the place ``p``) and ``E`` the tokens of the text.

In most methods the composed embedding is the picture's own where there is no text, ``f(I, -) = i``, so that ``i`` is
what a gallery holds. Two differ. A Q-Former embeds pictures itself: ``f(I, -)`` has no words to read. Textual inversion
speaks of a picture in words, which is not quite the picture: the gallery holds ``i``, and ``f(I, -)`` is the prompt
that ends at the pseudo-word.

What the text changes is ``d = f(I, T) - f(I, -)``. Both terms depend on the picture, so that places which both see
alike cancel out of the gradient of ``|d|^2``.

Here are what all methods share and those that read the embeddings alone; those that read the patches are in
:mod:`~mmgrad_explain.composers.fusion.grid`. :class:`~mmgrad_explain.composers.fusion.composer.FusionComposer` puts a
tower in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mmgrad_explain.composers.clip.composer import Combiner, CombinerConfig

if TYPE_CHECKING:
    from collections.abc import Callable


class Picture(NamedTuple):
    """Encoded pictures.

    Attributes:
        pooled: Unit embeddings, ``(B, D)``.
        grid: The patches where they lie, ``(B, C, h, w)``; None where the method does not read them.
    """

    pooled: Tensor
    grid: Tensor | None = None


class Text(NamedTuple):
    """Encoded texts.

    Attributes:
        mask: True for tokens, False for padding, ``(B, L)``; no True is an empty text.
        pooled: Unit embeddings, ``(B, D)``; None for a prompt.
        words: The text tower's last tokens, ``(B, L, W)``; None where the method does not read them.
        speak: For a prompt: pseudo-words ``(B, W)`` to unit embeddings ``(B, D)`` of the prompts that hold them.
    """

    mask: Tensor
    pooled: Tensor | None = None
    words: Tensor | None = None
    speak: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Sizes:
    """What a tower gives.

    Attributes:
        embed_dim: Length of its embeddings, D.
        grid_width: Channels of its patches, C; read by methods that read patches.
        word_width: Of the tokens that the method reads, or of the token embeddings that it writes, W.
    """

    embed_dim: int
    grid_width: int = 0
    word_width: int = 0


class Fusion(nn.Module):
    """A method: pictures and texts to composed embeddings.

    Attributes:
        reads: What is needed beside the two embeddings: ``"grid"``, ``"words"``, or ``"prompt"``, a text tower that a
            pseudo-word can be put into.
        apart: Whether a gallery holds something else than the composed embeddings for an empty text.
        sizes: Of the tower that it was made for.
        options: What it was made with.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    apart: ClassVar[bool] = False
    sizes: Sizes
    options: dict[str, Any]

    def forward(self, picture: Picture, text: Text) -> Tensor:
        """Give the composed embeddings, ``(B, D)``, not normalised."""
        raise NotImplementedError

    def without_text(self, picture: Picture, nothing: Text) -> Tensor:  # noqa: ARG002
        """The composed embeddings for an empty text, ``(B, D)``; ``nothing`` is one."""
        return picture.pooled

    def alone(self, picture: Picture, nothing: Text) -> Tensor:
        """The embeddings that a gallery holds, ``(B, D)``."""
        return self.without_text(picture, nothing)


class Tirg(Fusion):
    """Text-image residual gating on the embeddings.

    ``f = w_g sigmoid(W_g2 relu(W_g1 [i, t])) * i + w_r W_r2 relu(W_r1 [i, t])``, with ``*`` by element and ``w_g``,
    ``w_r`` learned numbers. Source: Vo et al., arXiv 1812.07119, section 3. Their batch normalisation is left out: a
    sample's map must not depend on its batch. The gate starts nearly open, so that a text changes little at first.

    Args:
        sizes: Of the tower.
        width: Of the hidden layers.
    """

    def __init__(self, sizes: Sizes, *, width: int = 512) -> None:
        super().__init__()
        size = sizes.embed_dim
        self.gate = nn.Sequential(nn.Linear(2 * size, width), nn.ReLU(), nn.Linear(width, size), nn.Sigmoid())
        self.residual = nn.Sequential(nn.Linear(2 * size, width), nn.ReLU(), nn.Linear(width, size))
        open_gate(self.gate)
        self.weights = nn.Parameter(torch.ones(2))

    def forward(self, picture: Picture, text: Text) -> Tensor:
        """See :class:`Fusion`."""
        both = torch.cat([picture.pooled, given(text.pooled)], dim=-1)
        return self.weights[0] * self.gate(both) * picture.pooled + self.weights[1] * self.residual(both)  # type: ignore[no-any-return]


class Combine(Fusion):
    """CLIP4Cir's combiner: ``f = i + MLP([i', t']) + g (t - i)``.

    See :mod:`mmgrad_explain.composers.clip.composer`. Source: Baldrati et al., CLIP4Cir, CVPR Workshops 2022.

    Args:
        sizes: Of the tower.
        width: Of the projections ``i'`` and ``t'``; the hidden layer is twice as wide.
        dropout: In training.
    """

    def __init__(self, sizes: Sizes, *, width: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        self.combiner = Combiner(CombinerConfig(embed_dim=sizes.embed_dim, width=width, dropout=dropout))

    def forward(self, picture: Picture, text: Text) -> Tensor:
        """See :class:`Fusion`."""
        return picture.pooled + self.combiner(picture.pooled, given(text.pooled))  # type: ignore[no-any-return]


class TextualInversion(Fusion):
    """The picture becomes a word of a sentence: ``f = t("a photo of $ that ...")`` with ``$ = phi(i)``.

    ``phi`` is an MLP of three layers into the text tower's token embeddings; the gradient goes through the text tower
    into the vision tower. Sources: Saito et al., Pic2Word, arXiv 2302.03084 (the network and its place in the prompt);
    Baldrati et al., SEARLE, arXiv 2303.15247 (the prompt).

    Args:
        sizes: Of the tower.
        width: Of the hidden layers.
        dropout: In training.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"prompt"})
    apart: ClassVar[bool] = True

    def __init__(self, sizes: Sizes, *, width: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        self.word = nn.Sequential(
            nn.Linear(sizes.embed_dim, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, sizes.word_width),
        )  # fmt: skip

    def forward(self, picture: Picture, text: Text) -> Tensor:
        """See :class:`Fusion`."""
        return given(text.speak)(self.word(picture.pooled))  # type: ignore[no-any-return]

    def without_text(self, picture: Picture, nothing: Text) -> Tensor:
        """The prompt that ends at the pseudo-word."""
        return self(picture, nothing)  # type: ignore[no-any-return]

    def alone(self, picture: Picture, nothing: Text) -> Tensor:  # noqa: ARG002
        """The picture itself."""
        return picture.pooled


def open_gate(gate: nn.Sequential) -> None:
    """Have a fresh gate let 0.95 of everything through: the bias before its sigmoid is 3."""
    last: Any = gate[-2]
    nn.init.constant_(last.bias, 3.0)


def given(value: Any) -> Any:
    """What the tower had to give.

    Raises:
        TypeError: It did not.
    """
    if value is None:
        raise TypeError("the picture or text lacks what this method reads; see its reads")
    return value
