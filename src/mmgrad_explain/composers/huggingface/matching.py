"""Models of transformers that read picture and text together and say how well they match: BLIP and its kin.

Their default score is ``"match"``, the logit of their own matching head (Li et al., BLIP, arXiv 2201.12086; Li et al.,
BLIP-2, arXiv 2301.12597; Kim et al., ViLT, arXiv 2102.03334; Xu et al., BridgeTower, arXiv 2206.08657). BLIP and BLIP-2
embed both apart as well, so that ``"image-text"`` and composed retrieval work as in
:mod:`~mmgrad_explain.composers.dual_encoder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer, layer_inside
from mmgrad_explain.composers.dual_encoder import unit_features
from mmgrad_explain.composers.huggingface.composers import HuggingFaceComposer
from mmgrad_explain.composers.huggingface.processor import check_one_size
from mmgrad_explain.composers.outputs import TwoTowerOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.composers.base import ComposerInputs
    from mmgrad_explain.composers.huggingface.families import Family
    from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor


class MatchingComposer(HuggingFaceComposer):
    """BLIP for image-text retrieval: both towers apart, and a text tower that looks at the picture.

    The default score is ``"match"``; ``"image-text"`` asks the two towers.
    """

    default_score: ClassVar[str | None] = "match"

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` to tokens ``(B, 1 + N, W)``."""
        return self.model.vision_model(pixel_values=pixel_values, **self._interpolation(pixel_values))[0]  # type: ignore[no-any-return]

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """See :class:`~.dual_encoder.DualEncoder`; the text is read together with the picture."""
        sentence, input_ids, mask = text
        read = self.model.text_encoder(
            input_ids=input_ids,
            attention_mask=mask,
            encoder_hidden_states=features,
            encoder_attention_mask=_all_seen(features),
        )[0]
        image = unit_features(self.model.vision_proj(features[:, 0]))
        match = self.model.itm_head(read[:, 0])[:, 1].float()
        return TwoTowerOutput(image + sentence, sentence, None, None, None, image, sentence, match)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``."""
        read = self.model.text_encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        return unit_features(self.model.text_proj(read[:, 0]))


class QueryComposer(MatchingComposer):
    """BLIP-2 for image-text retrieval: queries look at the patches, alone and together with the text (the Q-Former).

    The match logit is the mean over the queries. Each query embeds the picture by itself; the one that is nearest to
    the text stands for it, so that ``"image-text"`` is the largest cosine, as the model has it. For an empty text that
    is the first query.
    """

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> TwoTowerOutput:
        """See :class:`~.dual_encoder.DualEncoder`; the queries read the text together with the picture."""
        sentence, input_ids, mask = text
        queries = self.model.query_tokens.expand(len(features), -1, -1)
        patches = {"encoder_hidden_states": features, "encoder_attention_mask": _all_seen(features)}
        alone = self.model.vision_projection(self.model.qformer(query_embeds=queries, **patches)[0])
        every = F.normalize(alone.float(), dim=-1)
        nearest = (every * sentence[:, None]).sum(-1).argmax(1)
        image = every[torch.arange(len(every), device=every.device), nearest]
        read = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=input_ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=torch.cat([_all_seen(queries), mask], 1),
            **patches,
        )[0]
        match = self.model.itm_head(read[:, : queries.shape[1]]).mean(1)[:, 1].float()
        return TwoTowerOutput(image + sentence, sentence, None, None, None, image, sentence, match)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``(B, L)`` to unit embeddings ``(B, D)``."""
        words = self.model.embeddings(input_ids=input_ids)
        read = self.model.qformer(query_embeds=words, query_length=0, attention_mask=attention_mask)[0]
        return unit_features(self.model.text_projection(read[:, 0]))


class JointOutput(NamedTuple):
    """What a model says that knows picture and text only together.

    Attributes:
        embedding: Picture and text together, ``(B, D)``.
        match: How well they match, ``(B,)``.
        target_composed: The target picture and the text together, ``(B, D)``, or None without a target.
        target_match: How well these match, ``(B,)``, or None without a target.
    """

    embedding: Tensor
    match: Tensor
    target_composed: Tensor | None = None
    target_match: Tensor | None = None


class JointComposer(Composer):
    """ViLT for image-text retrieval: words and patches in one sequence, the words first.

    The model draws its patches in a new random order, and no more of them than ``max_image_length``. The order changes
    nothing in what the model says, but a map needs it: here all patches stand row by row.

    Args:
        model: A model of the class the family names.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    default_score: ClassVar[str | None] = "match"

    def __init__(self, model: Any, processor: HuggingFaceProcessor, family: Family, name: str) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.family = family
        self.name = name
        self.target_layer = layer_inside(self, family.layer(model.config))

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Made by ``processor``; all pictures, targets too, must come out in one size."""
        inputs = super().preprocess(images, texts, targets)
        check_one_size([*inputs.placements, *(inputs.target_placements or [])])
        return inputs

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> JointOutput:
        """Match pictures and texts.

        Args:
            pixel_values: Pictures as the model's own processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text.
            target_pixel_values: Target pictures, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        seen = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return seen
        other = self.compose(self.encode_image(target_pixel_values), text)
        return seen._replace(target_composed=other.embedding, target_match=other.match)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` to embedded tokens ``(B, 1 + N, W)``, the patches row by row."""
        mask = torch.ones_like(pixel_values[:, 0], dtype=torch.long)
        drawn, _, (places, (_, columns)) = self.model.vilt.embeddings.visual_embed(pixel_values, mask, -1)
        order = (places[..., 0] * columns + places[..., 1]).argsort(1)
        patches = drawn[:, 1:].gather(1, order[..., None].expand(-1, -1, drawn.shape[2]))
        return torch.cat([drawn[:, :1], patches], 1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and mask ``(B, L)`` as they are, since the text is read with the picture; an empty one keeps its ends."""
        return input_ids, torch.where(attention_mask.bool().any(1, keepdim=True), attention_mask, input_ids * 0 + 1)

    def compose(self, features: Tensor, text: tuple[Tensor, Tensor]) -> JointOutput:
        """Embedded pictures and texts, B of each, to an output without a target."""
        input_ids, mask = text
        read = self.model.vilt(
            input_ids, attention_mask=mask, image_embeds=features, pixel_mask=_all_seen(features), return_dict=True
        )
        return JointOutput(read.pooler_output.float(), self.model.rank_output(read.pooler_output)[:, 0].float())

    def layout_for(self, layer: str, pixel_values: Tensor, input_ids: Tensor, **_others: Any) -> Any:
        """How a layer's output lies on the pictures: behind words and class token, row by row.

        Args:
            layer: Its dotted name.
            pixel_values: As for :meth:`forward`.
            input_ids: As for :meth:`forward`.

        Returns:
            What makes ``(B, K, h, w)`` of its output; None for a layer outside the sequence of words and patches.
        """
        if not layer.startswith("model.vilt.encoder"):
            return None
        return _grid_reader(pixel_values, int(self.model.config.patch_size), input_ids.shape[1] + 1)


class BridgeComposer(JointComposer):
    """BridgeTower for image-text matching: two towers, and two streams above them that read each other.

    Its towers are read in between, so that a picture is no more than cut into patches beforehand.
    """

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` to embedded tokens ``(B, 1 + N, W)``, at positions stretched to their size."""
        tokens: Tensor = self.model.bridgetower.vision_model.visual.forward_pre(
            pixel_values, interpolate_pos_encoding=True
        )
        return tokens.transpose(0, 1)

    def compose(self, features: Tensor, text: tuple[Tensor, Tensor]) -> JointOutput:
        """Embedded pictures and texts, B of each, to an output without a target."""
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
        """How a layer's output lies on the pictures: behind the class token, row by row; in the tower sequence first.

        Args:
            layer: Its dotted name.
            pixel_values: As for :meth:`~.DualEncoder.forward`.
            input_ids: As for :meth:`~.DualEncoder.forward`.

        Returns:
            What makes ``(B, K, h, w)`` of its output; None for a layer that has no patches.
        """
        streams = ("model.bridgetower.cross_modal_image_l", "model.bridgetower.vision_model.visual.transformer")
        if not layer.startswith(streams):
            return None
        side, first_is_sequence = int(self.model.config.vision_config.patch_size), layer.startswith(streams[1])
        return _grid_reader(pixel_values, side, 1, sequence_first=first_is_sequence)


def _grid_reader(pixel_values: Tensor, side: int, first: int, *, sequence_first: bool = False) -> Any:
    """What reads patches of ``side`` pixels, row by row behind ``first`` other tokens."""
    rows, columns = pixel_values.shape[2] // side, pixel_values.shape[3] // side

    def on_grid(tokens: Tensor) -> Tensor:
        patches = (tokens.transpose(0, 1) if sequence_first else tokens)[:, first:].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], rows, columns)

    on_grid.__name__ = f"tokens {rows} x {columns} after {first}"
    return on_grid


def _all_seen(tokens: Tensor) -> Tensor:
    """A mask ``(B, N)`` that hides none of the tokens ``(B, N, W)``."""
    return torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)
