"""SigLIP (Zhai et al., arXiv 2303.15343) and SigLIP 2 (Tschannen et al., arXiv 2502.14786), NaFlex included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgrad_explain.composers.dual_encoder import unit_features
from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.huggingface.composer import HuggingFaceComposer
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor, check_one_size
from mmgrad_explain.images.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs


class PatchProcessor(HuggingFaceProcessor):
    """The processor of a model that gets images cut into patches, as many as their shape asks for (NaFlex).

    It joins the patches to the resized image that they were cut from, so that each has a place.
    """

    def _check_geometry(self) -> None:
        """Accept any settings: images are only stretched to whole patches."""

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch; all images, including the targets, must have one size for the model."""
        inputs = super().__call__(images, texts, targets)
        check_one_size([*inputs.placements, *(inputs.target_placements or [])])
        return inputs

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32 with H and W whole patches, and their placements.

        Raises:
            InputError: If they have different sizes for the model.
        """
        side = int(self.image_processor.patch_size)
        cut = self.image_processor(images=list(images), return_tensors="pt")
        placements = []
        for image, (rows, columns) in zip(images, cut["spatial_shapes"].tolist(), strict=True):
            original, size = (image.height, image.width), (rows * side, columns * side)
            placements.append(Placement(original, size, (size[0] / image.height, size[1] / image.width), (0.0, 0.0)))
        check_one_size(placements)
        patches = cut["pixel_values"][:, : rows * columns].float().reshape(len(images), rows, columns, side, side, 3)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(len(images), 3, rows * side, columns * side), placements


class PatchComposer(HuggingFaceComposer):
    """SigLIP 2 NaFlex: the vision tower gets as many patches as the image's shape asks for, in its aspect ratio.

    There are no patches for padding, which the model would ignore anyway.
    """

    processor_class = PatchProcessor

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Embed images ``(B, 3, H, W)``, H and W whole patches: unit embeddings ``(B, D)``."""
        side = int(self.model.config.vision_config.patch_size)
        count, _, height, width = pixel_values.shape
        rows, columns = height // side, width // side
        cut = pixel_values.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        features = self.model.get_image_features(
            pixel_values=cut.reshape(count, rows * columns, side * side * 3),
            pixel_attention_mask=torch.ones(count, rows * columns, dtype=torch.int32, device=pixel_values.device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=pixel_values.device),
        )
        return unit_features(features)


_LAYER = always("model.vision_model.post_layernorm")

FAMILIES = {
    "siglip": ContrastiveFamily(
        "SigLIP, SigLIP 2 of a fixed resolution",
        "SiglipModel",
        _LAYER,
        ContrastiveCheckpoint("google/siglip-base-patch16-224"),
        fixed_length=True,
    ),
    "siglip2": ContrastiveFamily(
        "SigLIP 2 NaFlex",
        "Siglip2Model",
        _LAYER,
        ContrastiveCheckpoint(
            "google/siglip2-base-patch16-naflex",
            {"vision_config": {"num_hidden_layers": 1}, "text_config": {"vocab_size": 8, "num_hidden_layers": 1}},
            needs_weights=True,  # it stretches positions by values
        ),
        composer=PatchComposer,
        fixed_length=True,
    ),
}
