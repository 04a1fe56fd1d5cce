"""Models that embed pictures and texts into one space, each by a tower of its own: CLIP and its kin.

Such a model gives a unit embedding ``i`` of a picture and ``t`` of a text. What it is asked by default is how well the
two belong together, the cosine ``<i, t>``; its gradient at the vision tower says which places of the picture speak for
the text (Grad-CAM, arXiv 1610.02391, with the similarity in the place of a class score).

For composed retrieval, where a text changes a picture, such a model knows nothing but the sum: ``embedding = i + t``,
the zero-shot baseline of the literature ("image + text" in Saito et al., Pic2Word, arXiv 2302.03084, and Baldrati et
al., SEARLE, arXiv 2303.15247). A target picture is embedded alone, so that the score ``similarity`` says which places
make picture plus text like the target. The shift is ``t`` whatever the picture is, so that ``shift`` has no map.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.outputs import TwoTowerOutput


class DualEncoder(Composer):
    """A model with a vision tower and a text tower.

    A subclass sets ``processor`` and says how pictures are encoded and texts embedded.
    """

    default_score: ClassVar[str | None] = "image-text"
    shift_depends_on_image: ClassVar[bool] = False

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> TwoTowerOutput:
        """Embed pictures and texts.

        Args:
            pixel_values: Pictures as the model's own processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, whose embedding is zero.
            target_pixel_values: Target pictures, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        seen = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return seen
        other = self.compose(self.encode_image(target_pixel_values), text)
        return seen._replace(
            target=other.image, target_shift=other.shift, target_composed=other.embedding, target_match=other.match
        )

    @abstractmethod
    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` to unit embeddings ``(B, D)``, or to whatever :meth:`compose` takes."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``, zero for an empty text, with the ids and the mask."""
        worded = attention_mask.bool().any(1, keepdim=True)
        mask = torch.where(worded, attention_mask, 1)  # attention to nothing is not a number
        return self.embed_text(input_ids, mask) * worded, input_ids, mask

    @abstractmethod
    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``; no mask is all 0."""

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """Encoded pictures and texts, B of each, to an output without a target."""
        return TwoTowerOutput(features + text[0], text[0], None, None, None, features, text[0])


def unit_features(features: Any) -> Tensor:
    """Unit embeddings ``(B, D)`` of what ``get_*_features`` of transformers gives.

    That is a tensor in transformers 4 and an output with ``pooler_output`` in 5. FLAVA has one vector a token there,
    the class token first.
    """
    vectors: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize((vectors[:, 0] if vectors.ndim == 3 else vectors).float(), dim=-1)
