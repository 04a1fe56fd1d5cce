"""Models of transformers that read image and text only together and give a logit of how well they match."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mmgrad_explain.composers.huggingface.composer import HuggingFaceModel
from mmgrad_explain.composers.huggingface.processor import check_one_size
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.composers.base import ComposerInputs


class JointOutput(NamedTuple):
    """The output of a model that reads image and text only together.

    Attributes:
        embedding: Image and text together, ``(B, D)``.
        match: The logit of how well they match, ``(B,)``.
        target_composed: The target image and the text together, ``(B, D)``, or None without a target.
        target_match: The logit of these, ``(B,)``, or None without a target.
    """

    embedding: Tensor
    match: Tensor
    target_composed: Tensor | None = None
    target_match: Tensor | None = None


class JointComposer(HuggingFaceModel):
    """A model whose layers read the image's patches and the text's tokens together.

    A subclass gives ``encode_image``, ``compose`` and ``layout_for``. The default score is ``"match"``.

    Args:
        model: A model of the family's class.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    default_score: ClassVar[str | None] = "match"

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch by ``processor``; all images, including the targets, must have one size for the model."""
        inputs = super().preprocess(images, texts, targets)
        check_one_size([*inputs.placements, *(inputs.target_placements or [])])
        return inputs

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> JointOutput:
        """Match images and texts.

        Args:
            pixel_values: Images as the model's own processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        output = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return output
        other = self.compose(self.encode_image(target_pixel_values), text)
        return output._replace(target_composed=other.embedding, target_match=other.match)

    @abstractmethod
    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images ``(B, 3, H, W)`` to tokens ``(B, 1 + N, W)``, the patches row by row."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Keep ids and mask ``(B, L)``: the text is read with the image. An empty text keeps its start and end."""
        return input_ids, torch.where(attention_mask.bool().any(1, keepdim=True), attention_mask, input_ids * 0 + 1)

    @abstractmethod
    def compose(self, features: Tensor, text: tuple[Tensor, Tensor]) -> JointOutput:
        """Read B encoded images and B texts together: an output without a target."""

    @abstractmethod
    def layout_for(self, layer: str, pixel_values: Tensor, input_ids: Tensor, **_others: Any) -> Any:
        """Find the layout of a layer's output over the images.

        Args:
            layer: Its dotted name.
            pixel_values: As for :meth:`forward`.
            input_ids: As for :meth:`forward`.

        Returns:
            A function from the output to ``(B, K, h, w)``; None for a layer without patches.
        """


def patch_reader(pixel_values: Tensor, side: int, first: int, *, sequence_first: bool = False) -> Any:
    """Make a function that puts a layer's patch tokens on their grid, ``(B, K, h, w)``.

    Args:
        pixel_values: ``(B, 3, H, W)``.
        side: Side of a patch, in pixels.
        first: Number of other tokens before the patches, which follow row by row.
        sequence_first: Whether the output is ``(N, B, K)`` instead of ``(B, N, K)``.
    """
    rows, columns = pixel_values.shape[2] // side, pixel_values.shape[3] // side

    def on_grid(tokens: Tensor) -> Tensor:
        count = tokens.shape[0 if sequence_first else 1]
        if tokens.ndim != 3 or count != first + rows * columns:
            raise InputError(
                f"layout: an output of shape {tuple(tokens.shape)} does not hold {first} other tokens and "
                f"{rows} x {columns} patches"
            )
        patches = (tokens.transpose(0, 1) if sequence_first else tokens)[:, first:].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], rows, columns)

    on_grid.__name__ = f"tokens {rows} x {columns} after {first}"
    return on_grid
