"""BridgeTower (Xu et al., arXiv 2206.08657) for image-text matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily
from mmgrad_explain.composers.huggingface.joint import JointComposer, JointOutput, patch_reader

if TYPE_CHECKING:
    from torch import Tensor

_STREAMS = "model.bridgetower.cross_modal_image_l"
_TOWER = "model.bridgetower.vision_model.visual.transformer"


class BridgeComposer(JointComposer):
    """BridgeTower for image-text matching: two towers, and two streams above them that read each other.

    The streams also read layers inside the towers, so that an encoded image is no more than its embedded patches.
    """

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images ``(B, 3, H, W)`` to embedded tokens ``(B, 1 + N, W)``, at positions stretched to their size."""
        tokens: Tensor = self.model.bridgetower.vision_model.visual.forward_pre(
            pixel_values, interpolate_pos_encoding=True
        )
        return tokens.transpose(0, 1)

    def compose(self, features: Tensor, text: tuple[Tensor, Tensor]) -> JointOutput:
        """Read B encoded images and B texts together: an output without a target."""
        input_ids, mask = text
        read = self.model.bridgetower(input_ids, attention_mask=mask, image_embeds=features).pooler_output
        return JointOutput(read.float(), self.model.itm_score(read)[:, 1].float())

    def layout_for(
        self,
        layer: str,
        pixel_values: Tensor,
        input_ids: Tensor,  # noqa: ARG002  (words have a stream of their own)
        **_others: Any,
    ) -> Any:
        """Find the layout: patches row by row behind the class token; see :class:`JointComposer`.

        Outputs of the vision tower have the sequence as their first dimension.
        """
        if not layer.startswith((_STREAMS, _TOWER)):
            return None
        side = int(self.model.config.vision_config.patch_size)
        return patch_reader(pixel_values, side, 1, sequence_first=layer.startswith(_TOWER))


def _last_shared_input(config: Any) -> str:
    """Name the input of both streams' last layer, where all of the image comes together."""
    return f"model.bridgetower.cross_modal_image_link_tower.{config.num_hidden_layers - 2}"


FAMILIES = {
    "bridgetower": ContrastiveFamily(
        "BridgeTower, image-text matching",
        "BridgeTowerForImageAndTextRetrieval",
        _last_shared_input,
        ContrastiveCheckpoint(
            "BridgeTower/bridgetower-base-itm-mlm",
            {
                "hidden_size": 64,
                "text_config": {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 8},
                "vision_config": {"hidden_size": 64, "image_size": 288},
            },
            needs_weights=True,  # it counts its words
        ),
        BridgeComposer,
        extra_positions=2,
    ),
}
