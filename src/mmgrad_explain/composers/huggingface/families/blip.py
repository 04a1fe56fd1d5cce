"""BLIP (Li et al., arXiv 2201.12086) and BLIP-2 (Li et al., arXiv 2301.12597) for image-text matching.

The default score is ``"match"``, the logit of the model's own matching head. The models embed image and text apart as
well, so that ``"image-text"`` and composed retrieval work as in :mod:`~mmgrad_explain.composers.dual_encoder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from mmgrad_explain.composers.dual_encoder import to_unit, unit_features
from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.huggingface.composer import HuggingFaceComposer, full_mask
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily
from mmgrad_explain.composers.outputs import TwoTowerOutput

if TYPE_CHECKING:
    from torch import Tensor


class MatchingComposer(HuggingFaceComposer):
    """BLIP for image-text retrieval: two separate towers, and a text tower that reads the image.

    The default score is ``"match"``; ``"image-text"`` uses the two towers.
    """

    default_score: ClassVar[str | None] = "match"

    @property
    def embedding_layer(self) -> str | None:
        """The last layer at which the class token reads the patches; the matching reads all patches behind it."""
        return f"model.vision_model.encoder.layers.{len(self.model.vision_model.encoder.layers) - 1}.layer_norm1"

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images ``(B, 3, H, W)`` to tokens ``(B, 1 + N, W)``."""
        return self.model.vision_model(pixel_values=pixel_values, **self._interpolation(pixel_values))[0]  # type: ignore[no-any-return]

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """Read B texts together with B encoded images; see :class:`~.dual_encoder.DualEncoder`."""
        sentence, input_ids, mask = text
        read = self.model.text_encoder(
            input_ids=input_ids,
            attention_mask=mask,
            encoder_hidden_states=features,
            encoder_attention_mask=full_mask(features),
        )[0]
        image = unit_features(self.model.vision_proj(features[:, 0]))
        match = self.model.itm_head(read[:, 0])[:, 1].float()
        return TwoTowerOutput(image + sentence, sentence, None, None, None, image, sentence, match)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed ids and mask ``(B, L)``: unit embeddings ``(B, D)``."""
        read = self.model.text_encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        return unit_features(self.model.text_proj(read[:, 0]))


class QueryComposer(MatchingComposer):
    """BLIP-2 for image-text retrieval: queries read the patches, alone and together with the text (the Q-Former).

    The match logit is the mean over the queries. Each query gives an embedding of the image; the one nearest to the
    text is taken, so that ``"image-text"`` is the largest cosine, as in the model itself. For an empty text it is that
    of the first query.
    """

    @property
    def embedding_layer(self) -> str | None:
        """The target layer: the queries read all patches, for the embedding as for the matching."""
        return self.target_layer

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """Read B texts together with B encoded images; see :class:`~.dual_encoder.DualEncoder`."""
        sentence, input_ids, mask = text
        queries = self.model.query_tokens.expand(len(features), -1, -1)
        patches = {"encoder_hidden_states": features, "encoder_attention_mask": full_mask(features)}
        alone = self.model.vision_projection(self.model.qformer(query_embeds=queries, **patches)[0])
        embeddings = F.normalize(alone.float(), dim=-1)
        nearest = (embeddings * sentence[:, None]).sum(-1).argmax(1)
        image = to_unit(alone[torch.arange(len(alone), device=alone.device), nearest])
        read = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=input_ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=torch.cat([full_mask(queries), mask], 1),
            **patches,
        )[0]
        match = self.model.itm_head(read[:, : queries.shape[1]]).mean(1)[:, 1].float()
        return TwoTowerOutput(image + sentence, sentence, None, None, None, image, sentence, match)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed ids and mask ``(B, L)``: unit embeddings ``(B, D)``."""
        words = self.model.embeddings(input_ids=input_ids)
        read = self.model.qformer(query_embeds=words, query_length=0, attention_mask=attention_mask)[0]
        return unit_features(self.model.text_projection(read[:, 0]))


_LAYER = always("model.vision_model.post_layernorm")
_NO_HEAD = "which has no image-text matching head: use a "

FAMILIES = {
    "blip": ContrastiveFamily(
        "BLIP, image-text matching",
        "BlipForImageTextRetrieval",
        _LAYER,
        ContrastiveCheckpoint("Salesforce/blip-itm-base-coco"),
        MatchingComposer,
        architectures=("BlipForImageTextRetrieval",),
        instead=f"{_NO_HEAD}BlipForImageTextRetrieval, such as Salesforce/blip-itm-base-coco",
    ),
    "blip-2": ContrastiveFamily(
        "BLIP-2, image-text matching",
        "Blip2ForImageTextRetrieval",
        _LAYER,
        ContrastiveCheckpoint("Salesforce/blip2-itm-vit-g"),
        QueryComposer,
        architectures=("Blip2ForImageTextRetrieval",),
        instead=f"{_NO_HEAD}Blip2ForImageTextRetrieval, such as Salesforce/blip2-itm-vit-g",
    ),
}
