"""BLIP-2 for composed image retrieval by its own Q-Former, in two passes.

First the queries read the image and the text together; what they became then takes the queries' place beside the text,
without the image, and the text's class token is read, by the text's own feed-forward layers. A gallery image keeps all
its query vectors, and the largest of their cosines with the composed embedding counts::

    p = Q-Former([q, T], I)[:Q],    f(I, T) = W_t Q-Former([p, T])[Q],    s(f, J) = max_k <f, W_v Q-Former(q, J)[k]>

with all vectors of unit length. Source: Bai et al., Sentence-level Prompts Benefit Composed Image Retrieval (SPRC),
arXiv 2310.05473, on Li et al., BLIP-2, arXiv 2301.12597. Of the paper's three losses training has the first, on ``s``;
its two others, on learned prompts that stand in for ``p``, are left out.

``f(I, -)`` is the same with an empty text. Maps are taken at the last norm of the vision tower, whose patches the
queries read.
"""

from __future__ import annotations

import math
from copy import copy
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.files import fitting, read_own_model, write_model
from mmgrad_explain.composers.huggingface.composer import full_mask
from mmgrad_explain.composers.huggingface.families.blip import QueryComposer
from mmgrad_explain.composers.model_types import SPRC
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.errors import InputError

TOWER = "tower"
"""The folder of the BLIP-2 model, inside the composer's."""
LONGEST = 32
"""Tokens of the longest text, as in the paper's code."""
_TEMPERATURE = 0.07


class SprcTexts(NamedTuple):
    """B texts as the Q-Former reads them.

    Attributes:
        input_ids: Tokens, ``(B, L)``.
        mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text.
    """

    input_ids: Tensor
    mask: Tensor


class SprcComposer(Composer):
    """A BLIP-2 model that composes image and text by its Q-Former.

    ``embedding`` is ``f(I, T)``, ``shift`` is ``f(I, T) - f(I, -)``, exactly zero for an empty text; ``target`` and
    ``alone`` are the ``(B, Q, D)`` query vectors of an image by itself.

    Args:
        tower: BLIP-2 for image-text retrieval.
        name: What the model is called.
        vision_eps: The epsilon of the vision tower's last norm; None leaves it as it is. BLIP-2's own code has another
            one than transformers.
    """

    default_score: ClassVar[str | None] = "shift"
    default_method = "gradcam"
    backbone: tuple[str, ...] = (f"{TOWER}.model.vision_model",)
    """The part that is large and was trained before."""

    blank_ids: Tensor

    def __init__(self, tower: QueryComposer, name: str = "sprc", vision_eps: float | None = None) -> None:
        super().__init__()
        self.tower = tower
        self.name = name
        self.processor = copy(tower.processor)
        self.processor.max_tokens = min(self.processor.max_tokens, LONGEST)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / _TEMPERATURE), device=device_of(tower)))
        self.vision_eps = vision_eps
        if vision_eps is not None:
            tower.model.vision_model.post_layernorm.eps = vision_eps
        self.target_layer = f"{TOWER}.model.vision_model.post_layernorm"
        self.embed_dim: int = tower.model.config.image_text_hidden_size
        self.gallery_vectors: int = tower.model.config.num_query_tokens
        blank = tower.processor.encode_texts([""])[0].to(device_of(tower))
        self.register_buffer("blank_ids", blank, persistent=False)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """Compose images with texts.

        Args:
            pixel_values: Reference images as BLIP-2's processor gives them, ``(B, 3, S, S)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, which changes nothing.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        composed = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return composed
        other = self.compose(self.encode_image(target_pixel_values), text)
        return composed._replace(target=other.alone, target_shift=other.shift, target_composed=other.embedding)

    # ------------------------------------------------------------------------------------------------------- in stages

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode pixels ``(B, 3, S, S)`` to the tokens before the vision tower's last norm, ``(B, 1 + N, W)``."""
        vision = self.tower.model.vision_model
        own = vision.config.image_size
        tokens = vision.embeddings(pixel_values, interpolate_pos_encoding=tuple(pixel_values.shape[2:]) != (own, own))
        return vision.encoder(inputs_embeds=tokens)[0]  # type: ignore[no-any-return]

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> SprcTexts:
        """Take ids and mask ``(B, L)`` as they are: the Q-Former reads them together with the image."""
        return SprcTexts(input_ids, attention_mask)

    def compose(self, features: Tensor, text: SprcTexts) -> ComposedOutput:
        """Compose B images' tokens with B texts: an output without a target. Maps are taken here."""
        patches = self.tower.model.vision_model.post_layernorm(features)
        blank = self.blank_ids.expand(len(features), -1)
        before = self._read(patches, blank, torch.ones_like(blank))
        words = text.mask.bool().any(1, keepdim=True)
        mask = torch.where(words, text.mask, 1)  # attention to nothing is not a number
        shift = (self._read(patches, text.input_ids, mask) - before) * words
        return ComposedOutput(before + shift, shift, alone=self._vectors(patches))

    def embed(self, features: Tensor) -> Tensor:
        """Embed images alone from their tokens, as a gallery holds them: ``(B, Q, D)``."""
        return self._vectors(self.tower.model.vision_model.post_layernorm(features))

    def _vectors(self, patches: Tensor) -> Tensor:
        """Let the queries read images alone: unit vectors ``(B, Q, D)``."""
        model = self.tower.model
        queries = model.query_tokens.expand(len(patches), -1, -1)
        read = model.qformer(
            query_embeds=queries, encoder_hidden_states=patches, encoder_attention_mask=full_mask(patches)
        )[0]
        return F.normalize(model.vision_projection(read).float(), dim=-1)

    def _read(self, patches: Tensor, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Make the two passes: unit embeddings ``(B, D)`` of images with texts."""
        model = self.tower.model
        queries = model.query_tokens.expand(len(patches), -1, -1)
        count = queries.shape[1]
        both = torch.cat([full_mask(queries), mask], 1)
        fused = model.qformer(
            query_embeds=model.embeddings(input_ids=input_ids, query_embeds=queries),
            query_length=count,
            attention_mask=both,
            encoder_hidden_states=patches,
            encoder_attention_mask=full_mask(patches),
        )[0][:, :count]
        said = model.embeddings(input_ids=input_ids, query_embeds=fused)
        read = model.qformer(query_embeds=said, query_length=0, attention_mask=both)[0]
        return F.normalize(model.text_projection(read[:, count]).float(), dim=-1)

    # ----------------------------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config and temperature into a folder, and the BLIP-2 model into a folder inside."""
        folder = Path(folder)
        config = {"model_type": SPRC, "vision_eps": self.vision_eps}
        write_model(folder, config, {"logit_scale": self.logit_scale})
        self.tower.save_pretrained(folder / TOWER)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> SprcComposer:
        """Read what :meth:`save_pretrained` wrote; safetensors only.

        Raises:
            InputError: If the folder holds no such model, or its weights do not fit its config.
        """
        from mmgrad_explain.composers.load import load_composer

        folder = Path(folder)
        config, weights = read_own_model(folder, SPRC, safetensors_only=True)
        composer = cls.from_tower(load_composer(folder / TOWER), name or folder.name, config.get("vision_eps"))
        with fitting(folder), torch.no_grad():
            composer.logit_scale.copy_(weights["logit_scale"])
        return composer.eval()

    @classmethod
    def from_tower(
        cls, tower: str | Path | Composer, name: str | None = None, vision_eps: float | None = None
    ) -> SprcComposer:
        """Make a composer of a BLIP-2 for image-text retrieval: it starts with BLIP-2's own weights.

        Args:
            tower: Folder or hub id, or the loaded composer.
            name: What the model is called.
            vision_eps: See the class.

        Raises:
            InputError: If it is another kind of model.
        """
        from mmgrad_explain.composers.load import load_composer

        towers = tower if isinstance(tower, Composer) else load_composer(tower)
        if not isinstance(towers, QueryComposer):
            raise InputError(
                f"{towers.name} ({type(towers).__name__}) has no Q-Former of BLIP-2: take a "
                "Blip2ForImageTextRetrieval, such as Salesforce/blip2-itm-vit-g"
            )
        return cls(towers, name or f"sprc on {towers.name}", vision_eps).eval()
