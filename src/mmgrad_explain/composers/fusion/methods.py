"""Methods of composed image retrieval from the literature, as modules on a two-tower model.

A method takes the towers' outputs, :class:`MethodImages` and :class:`MethodTexts`, to a composed embedding
``f(I, T)``, ``(B, D)``, in the towers' own space. In the formulas ``i`` and ``t`` are the unit embeddings, ``A``
the image's patches on their grid (``A_p`` at the position ``p``) and ``E`` the text's tokens.

In most methods the composed embedding without a text is the image's own, ``f(I, -) = i``, and a gallery holds ``i``.
Two differ. A Q-Former embeds images itself: ``f(I, -)`` has no words to read. Textual inversion describes an image in
words, which is not quite the image: the gallery holds ``i``; ``f(I, -)`` is the prompt that ends at the pseudo-word.

The text changes the embedding by ``d = f(I, T) - f(I, -)``. Both terms depend on the image, so positions that both see
alike cancel out of the gradient of ``|d|^2``.

This file has the base class and the methods that read the embeddings alone; those that read the patches are in
:mod:`~mmgrad_explain.composers.fusion.grid_methods`.
:class:`~mmgrad_explain.composers.fusion.composer.FusionComposer` joins a method to a tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.composers.clip.composer import ACTIVATIONS, Combiner, CombinerConfig

if TYPE_CHECKING:
    from collections.abc import Callable


class MethodImages(NamedTuple):
    """B images as a method reads them.

    Attributes:
        pooled: Unit embeddings, ``(B, D)``; as the tower's projection gives them for a method that wants them so.
        grid: The patches on their grid, ``(B, C, h, w)``; None if the method does not read them.
    """

    pooled: Tensor
    grid: Tensor | None = None


class MethodTexts(NamedTuple):
    """B texts as a method reads them.

    Attributes:
        mask: True for tokens, False for padding, ``(B, L)``; all False is an empty text.
        pooled: Embeddings, ``(B, D)``, as those of the images; None for a prompt.
        words: The text tower's last tokens, ``(B, L, W)``; None if the method does not read them.
        embed_prompts: For a method with a prompt: a function from pseudo-words ``(B, W)`` to unit embeddings ``(B, D)``
            of the prompts with them.
    """

    mask: Tensor
    pooled: Tensor | None = None
    words: Tensor | None = None
    embed_prompts: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes of a tower's outputs.

    Attributes:
        embed_dim: Length of its embeddings, D.
        grid_width: Channels of its patches, C; for methods that read patches.
        word_width: Of the tokens that the method reads, or of the token embeddings that it writes, W.
    """

    embed_dim: int
    grid_width: int = 0
    word_width: int = 0


class Fusion(nn.Module):
    """A method: composed embeddings of images and texts.

    Attributes:
        reads: What it reads beside the two embeddings: ``"grid"``, ``"words"``, or ``"prompt"``, a text tower that
            takes a pseudo-word.
        gallery_differs: Whether a gallery holds other embeddings than the composed ones for an empty text.
        normalise_inputs: Whether it reads unit embeddings; False for embeddings as the tower's projection gives them.
        sizes: Of the tower that it was made for.
        options: The keyword arguments that it was made with.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    gallery_differs: ClassVar[bool] = False
    normalise_inputs: bool = True
    sizes: Sizes
    options: dict[str, Any]

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """Compute the composed embeddings, ``(B, D)``, not normalised."""
        raise NotImplementedError

    def without_text(self, image: MethodImages, nothing: MethodTexts) -> Tensor:  # noqa: ARG002
        """Compute the composed embeddings, ``(B, D)``, for ``nothing``, an empty text."""
        return image.pooled

    def for_gallery(self, image: MethodImages, nothing: MethodTexts) -> Tensor:
        """Compute the embeddings that a gallery holds, ``(B, D)``."""
        return self.without_text(image, nothing)


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

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`Fusion`."""
        both = torch.cat([image.pooled, require(text.pooled)], dim=-1)
        return self.weights[0] * self.gate(both) * image.pooled + self.weights[1] * self.residual(both)  # type: ignore[no-any-return]


class Combine(Fusion):
    """CLIP4Cir's combiner: ``f = i + MLP([i', t']) + g (t - i)``.

    See :mod:`mmgrad_explain.composers.clip.composer`. Source: Baldrati et al., CLIP4Cir, CVPR Workshops 2022. The
    combiner that was published with the paper has ``hidden`` and ``gate_width`` of one size, ``activation="relu"``,
    ``text_first=True``, ``normalise_inputs=False``, and a dropout of 0.5 everywhere.

    Args:
        sizes: Of the tower.
        width: Of the projections ``i'`` and ``t'``.
        dropout: In training.
        hidden: Width of the hidden layer; None makes it twice as wide as the projections.
        gate_width: Width of the gate's hidden layer; None makes it as wide as the projections.
        activation: ``"gelu"`` or ``"relu"``.
        text_first: Join ``[t', i']`` in place of ``[i', t']``.
        gate_dropout: In training, in the gate.
        normalise_inputs: Read unit embeddings; False reads them as the tower's projection gives them.
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        width: int = 512,
        dropout: float = 0.1,
        hidden: int | None = None,
        gate_width: int | None = None,
        activation: str = "gelu",
        text_first: bool = False,
        gate_dropout: float = 0.0,
        normalise_inputs: bool = True,
    ) -> None:
        super().__init__()
        self.normalise_inputs = normalise_inputs
        self.combiner = Combiner(
            CombinerConfig(sizes.embed_dim, width, dropout, hidden, gate_width, activation, text_first, gate_dropout)
        )

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`Fusion`."""
        return image.pooled + self.combiner(image.pooled, require(text.pooled))  # type: ignore[no-any-return]


class TextualInversion(Fusion):
    """The image becomes a word of a sentence: ``f = t("a photo of $ that ...")`` with ``$ = phi(i)``.

    ``phi`` is an MLP of three layers into the text tower's token embeddings; the gradient goes through the text tower
    into the vision tower. Sources: Saito et al., Pic2Word, arXiv 2302.03084 (the network and its place in the prompt);
    Baldrati et al., SEARLE, arXiv 2303.15247 (the prompt).

    Args:
        sizes: Of the tower.
        width: Of the hidden layers.
        dropout: In training.
        activation: ``"relu"`` (Pic2Word), or ``"gelu"`` (SEARLE; Gu et al., LinCIR, arXiv 2312.01998).
        normalise_inputs: Read unit embeddings of images; False, as in these papers' own code, reads them as the
            tower's projection gives them.

    Raises:
        InputError: If there is no such activation.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"prompt"})
    gallery_differs: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Sizes,
        *,
        width: int = 512,
        dropout: float = 0.1,
        activation: str = "relu",
        normalise_inputs: bool = True,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, ACTIVATIONS)
        self.normalise_inputs, act = normalise_inputs, ACTIVATIONS[activation]
        self.word = nn.Sequential(
            nn.Linear(sizes.embed_dim, width), act(), nn.Dropout(dropout),
            nn.Linear(width, width), act(), nn.Dropout(dropout),
            nn.Linear(width, sizes.word_width),
        )  # fmt: skip

    def forward(self, image: MethodImages, text: MethodTexts) -> Tensor:
        """See :class:`Fusion`."""
        return require(text.embed_prompts)(self.word(image.pooled))  # type: ignore[no-any-return]

    def without_text(self, image: MethodImages, nothing: MethodTexts) -> Tensor:
        """Embed the prompt that ends at the pseudo-word."""
        return self(image, nothing)  # type: ignore[no-any-return]

    def for_gallery(self, image: MethodImages, nothing: MethodTexts) -> Tensor:  # noqa: ARG002
        """Return the image's own embedding."""
        return F.normalize(image.pooled, dim=-1)


def open_gate(gate: nn.Sequential) -> None:
    """Initialise a gate to pass 0.95 of its input: the bias before its sigmoid is 3."""
    last: Any = gate[-2]
    nn.init.constant_(last.bias, 3.0)


def require(value: Any) -> Any:
    """Return an input that the tower must give.

    Raises:
        TypeError: If it is None.
    """
    if value is None:
        raise TypeError("the images or texts lack an input of this method; see its reads")
    return value
