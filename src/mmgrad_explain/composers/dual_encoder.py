"""Models that embed images and texts into one space, each by a tower of its own: CLIP and others like it.

Such a model gives a unit embedding ``i`` of an image and ``t`` of a text. Its default score is how well the two match,
the cosine ``<i, t>``; the gradient at the vision tower shows which parts of the image match the text (Grad-CAM,
arXiv 1610.02391, with the similarity in place of a class score).

For composed retrieval, where a text changes an image, such a model offers only the sum: ``embedding = i + t``,
the zero-shot baseline of the literature ("image + text" in Saito et al., Pic2Word, arXiv 2302.03084, and Baldrati et
al., SEARLE, arXiv 2303.15247). A target image is embedded alone, so that the score ``similarity`` shows which parts
make image plus text similar to the target. The shift is ``t`` for every image, so that ``shift`` has no map.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.outputs import TwoTowerOutput

if TYPE_CHECKING:
    from collections.abc import Iterator

_AS_PROJECTED: ContextVar[bool] = ContextVar("as_projected", default=False)


class DualEncoder(Composer):
    """A model with a vision tower and a text tower.

    A subclass sets ``processor`` and defines ``encode_image`` and ``embed_text``.
    """

    default_score: ClassVar[str | None] = "image-text"
    shift_depends_on_image: ClassVar[bool] = False

    @property
    def embedding_layer(self) -> str | None:
        """The layer at which the image's embedding alone is explained: the target layer, unless a subclass differs."""
        return self.target_layer

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> TwoTowerOutput:
        """Embed images and texts.

        Args:
            pixel_values: Images as the model's own processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, whose embedding is zero.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        composed = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return composed
        other = self.compose(self.encode_image(target_pixel_values), text)
        return composed._replace(
            target=other.image, target_shift=other.shift, target_composed=other.embedding, target_match=other.match
        )

    @abstractmethod
    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images ``(B, 3, H, W)`` into unit embeddings ``(B, D)``, or into what :meth:`compose` takes."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Encode ids and mask ``(B, L)``: unit embeddings ``(B, D)``, zero for an empty text; the ids and the mask."""
        has_words = attention_mask.bool().any(1, keepdim=True)
        mask = torch.where(has_words, attention_mask, 1)  # attention to nothing is not a number
        return self.embed_text(input_ids, mask) * has_words, input_ids, mask

    @abstractmethod
    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed ids and mask ``(B, L)`` as unit vectors ``(B, D)``; no row of the mask is all 0."""

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """Compose B encoded images with B encoded texts: an output without a target."""
        return TwoTowerOutput(features + text[0], text[0], None, None, None, features, text[0])


def unit_features(features: Any) -> Tensor:
    """Return unit embeddings ``(B, D)`` of the output of ``get_*_features`` of transformers.

    The output is a tensor in transformers 4 and has ``pooler_output`` in 5. FLAVA gives one vector for each token, that
    of the class token first.
    """
    vectors: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return to_unit(vectors[:, 0] if vectors.ndim == 3 else vectors)


def to_unit(vectors: Tensor) -> Tensor:
    """Return vectors ``(B, D)`` in float32, of unit length; inside :func:`as_projected` as long as they are."""
    return vectors.float() if _AS_PROJECTED.get() else F.normalize(vectors.float(), dim=-1)


@contextmanager
def as_projected(wanted: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002
    """Have towers give embeddings as their last projection gives them, not of unit length, inside the block.

    Some published methods of composed retrieval were trained on such embeddings. Only this thread is concerned.

    Args:
        wanted: Whether to; False changes nothing.
    """
    before = _AS_PROJECTED.set(wanted or _AS_PROJECTED.get())
    try:
        yield
    finally:
        _AS_PROJECTED.reset(before)
