"""ViLT (Kim et al., arXiv 2102.03334) for image-text retrieval: words and patches in one sequence, the words first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.family_files import last_block_input
from mmgrad_explain.composers.huggingface.composer import full_mask
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily
from mmgrad_explain.composers.huggingface.joint import JointComposer, JointOutput, patch_reader

if TYPE_CHECKING:
    from torch import Tensor


class ViltComposer(JointComposer):
    """ViLT for image-text retrieval.

    The model draws its patches in a new random order, and no more of them than ``max_image_length``. The order does not
    change its output, but a map needs it: here all patches come row by row.
    """

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images ``(B, 3, H, W)`` to embedded tokens ``(B, 1 + N, W)``, the patches row by row."""
        mask = torch.ones_like(pixel_values[:, 0], dtype=torch.long)
        drawn, _, (places, (_, columns)) = self.model.vilt.embeddings.visual_embed(pixel_values, mask, -1)
        order = (places[..., 0] * columns + places[..., 1]).argsort(1)
        patches = drawn[:, 1:].gather(1, order[..., None].expand(-1, -1, drawn.shape[2]))
        return torch.cat([drawn[:, :1], patches], 1)

    def compose(self, features: Tensor, text: tuple[Tensor, Tensor]) -> JointOutput:
        """Read B encoded images and B texts together: an output without a target."""
        input_ids, mask = text
        read = self.model.vilt(
            input_ids, attention_mask=mask, image_embeds=features, pixel_mask=full_mask(features), return_dict=True
        )
        return JointOutput(read.pooler_output.float(), self.model.rank_output(read.pooler_output)[:, 0].float())

    def layout_for(self, layer: str, pixel_values: Tensor, input_ids: Tensor, **_others: Any) -> Any:
        """Find the layout: patches row by row, behind the words and the class token; see :class:`JointComposer`."""
        if not layer.startswith("model.vilt.encoder"):
            return None
        return patch_reader(pixel_values, int(self.model.config.patch_size), input_ids.shape[1] + 1)


FAMILIES = {
    "vilt": ContrastiveFamily(
        "ViLT, image-text retrieval",
        "ViltForImageAndTextRetrieval",
        last_block_input("vilt", "encoder.layer", "layernorm_before"),
        ContrastiveCheckpoint(
            "dandelin/vilt-b32-finetuned-coco",
            {"hidden_size": 24, "intermediate_size": 24},
            needs_weights=True,  # it counts its patches
        ),
        ViltComposer,
        architectures=("ViltForImageAndTextRetrieval",),
        instead="which does not say how well image and text match: use a ViltForImageAndTextRetrieval, such as "
        "dandelin/vilt-b32-finetuned-coco",
    ),
}
