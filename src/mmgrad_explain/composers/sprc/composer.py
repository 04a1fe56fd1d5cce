"""BLIP-2 for composed image retrieval by its own Q-Former, in two passes.

First the queries read the image and the text together; what they became then takes the queries' place beside the text,
without the image, and the text's class token is read, by the text's own feed-forward layers. A gallery image keeps all
its query vectors, and the largest of their cosines with the composed embedding counts::

    p = Q-Former([q, T], I)[:Q],    f(I, T) = W_t Q-Former([p, T])[Q],    s(f, J) = max_k <f, W_v Q-Former(q, J)[k]>

with all vectors of unit length. Source: Bai et al., Sentence-level Prompts Benefit Composed Image Retrieval (SPRC),
arXiv 2310.05473, on Li et al., BLIP-2, arXiv 2301.12597.

Training is contrastive on ``s``. Two more losses of the paper's code are for training alone
(:meth:`SprcComposer.learned_prompt`). A learned prompt ``p'``, the same for all images, takes the place of ``p``,
between the text's class token and its words, and should find the target without the image. And the mean of ``p`` over
the queries should be near that of ``p'``, which is held fixed in this loss::

    g(T) = W_t Q-Former([T_cls, p', T_words])_cls,    |mean_k p_k - mean_k p'_k|^2 / width

``f(I, -)`` is the same with an empty text. Maps are taken at the last norm of the vision tower, whose patches the
queries read.
"""

from __future__ import annotations

import math
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
from mmgrad_explain.composers.outputs import LearnedPrompt
from mmgrad_explain.composers.sprc.processor import sprc_processor
from mmgrad_explain.errors import InputError

TOWER = "tower"
"""The folder of the BLIP-2 model, inside the composer's."""
_TEMPERATURE = 0.07


class SprcTexts(NamedTuple):
    """B texts as the Q-Former reads them.

    Attributes:
        input_ids: Tokens, ``(B, L)``.
        mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text.
    """

    input_ids: Tensor
    mask: Tensor


class SprcOutput(NamedTuple):
    """A :class:`~mmgrad_explain.composers.outputs.ComposedOutput`, with what the queries became.

    Attributes:
        embedding: See :class:`~mmgrad_explain.composers.outputs.ComposedOutput`, as all others but the last.
        shift: What the text changes.
        target: Of the target image, ``(B, Q, D)``.
        target_shift: What the text changes in the target's embedding.
        target_composed: The target composed with the text.
        alone: Of the reference image alone, ``(B, Q, D)``.
        prompt: The mean over the queries of ``p``, what they became by image and text, ``(B, W)``.
    """

    embedding: Tensor
    shift: Tensor
    target: Tensor | None = None
    target_shift: Tensor | None = None
    target_composed: Tensor | None = None
    alone: Tensor | None = None
    prompt: Tensor | None = None


class SprcComposer(Composer):
    """A BLIP-2 model that composes image and text by its Q-Former.

    ``embedding`` is ``f(I, T)``, ``shift`` is ``f(I, T) - f(I, -)``, exactly zero for an empty text; ``target`` and
    ``alone`` are the ``(B, Q, D)`` query vectors of an image by itself.

    Args:
        tower: BLIP-2 for image-text retrieval.
        name: What the model is called.
        vision_eps: The epsilon of the vision tower's last norm; None leaves it as it is. BLIP-2's own code has another
            one than transformers.
        pad_ratio: See :func:`~mmgrad_explain.composers.sprc.processor.sprc_processor`; 1.25 in the paper's code.
        first_norm: Whether the vision tower normalises patches and positions before its first block, as that of CLIP
            does, BLIP-2's smaller one. BLIP-2 of transformers has no such norm; its weights are this composer's own.

    Attributes:
        learned: The learned prompt ``p'``, ``(1, Q, W)``; read in training alone.
    """

    default_score: ClassVar[str | None] = "shift"
    default_method = "gradcam"
    backbone: tuple[str, ...] = (f"{TOWER}.model.vision_model",)
    """The part that is large and was trained before."""

    blank_ids: Tensor

    def __init__(
        self,
        tower: QueryComposer,
        name: str = "sprc",
        vision_eps: float | None = None,
        *,
        pad_ratio: float | None = None,
        first_norm: bool = False,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.name = name
        self.pad_ratio = pad_ratio
        self.processor = sprc_processor(tower.processor, pad_ratio)
        config, device = tower.model.config, device_of(tower)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / _TEMPERATURE), device=device))
        # a generator of its own: what a user draws afterwards does not depend on whether a model was loaded
        drawn = torch.randn(tower.model.query_tokens.shape, generator=torch.Generator().manual_seed(0))
        self.learned = nn.Parameter((config.qformer_config.initializer_range * drawn).to(device))
        width, eps = config.vision_config.hidden_size, config.vision_config.layer_norm_eps
        self.first_norm = nn.LayerNorm(width, eps=eps).to(device) if first_norm else None
        self.vision_eps = vision_eps
        if vision_eps is not None:
            tower.model.vision_model.post_layernorm.eps = vision_eps
        self.target_layer = f"{TOWER}.model.vision_model.post_layernorm"
        self.embed_dim: int = config.image_text_hidden_size
        self.gallery_vectors: int = config.num_query_tokens
        blank = tower.processor.encode_texts([""])[0].to(device)
        self.register_buffer("blank_ids", blank, persistent=False)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> SprcOutput:
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
        tokens = tokens if self.first_norm is None else self.first_norm(tokens)
        return vision.encoder(inputs_embeds=tokens)[0]  # type: ignore[no-any-return]

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> SprcTexts:
        """Take ids and mask ``(B, L)`` as they are: the Q-Former reads them together with the image."""
        return SprcTexts(input_ids, attention_mask)

    def compose(self, features: Tensor, text: SprcTexts) -> SprcOutput:
        """Compose B images' tokens with B texts: an output without a target. Maps are taken here."""
        patches = self.tower.model.vision_model.post_layernorm(features)
        blank = self.blank_ids.expand(len(features), -1)
        before, _ = self._read(patches, blank, torch.ones_like(blank))
        words = text.mask.bool().any(1, keepdim=True)
        after, prompt = self._read(patches, text.input_ids, _readable(text.mask))
        shift = (after - before) * words
        return SprcOutput(before + shift, shift, alone=self._vectors(patches), prompt=prompt.mean(1))

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

    def _read(self, patches: Tensor, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Make the two passes: unit embeddings ``(B, D)`` of images with texts, and ``p``, ``(B, Q, W)``."""
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
        return F.normalize(model.text_projection(read[:, count]).float(), dim=-1), fused.float()

    def learned_prompt(self, output: SprcOutput, input_ids: Tensor, attention_mask: Tensor) -> LearnedPrompt:
        """Read texts with the learned prompt, without an image; and measure how far ``p`` is from it.

        Source: the losses ``loss_rtc`` and ``loss_align`` in the public code of Bai et al., arXiv 2310.05473.

        Args:
            output: Of :meth:`forward` for these texts.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``.

        Raises:
            InputError: The Q-Former has too few positions for prompt and text, or the output is another one.
        """
        model, learned = self.tower.model, self.learned.expand(len(input_ids), -1, -1)
        words = model.embeddings.word_embeddings(input_ids)
        said = torch.cat([words[:, :1], learned.to(words.dtype), words[:, 1:]], 1)
        most = model.embeddings.position_embeddings.num_embeddings
        if said.shape[1] > most:
            raise InputError(
                f"the learned prompt and a text of {input_ids.shape[1]} tokens are {said.shape[1]}, and {self.name} "
                f"has {most} positions: use shorter texts"
            )
        if output.prompt is None:
            raise InputError("output: it has no prompt; give what forward returned")
        places = torch.arange(said.shape[1], device=said.device)
        mask = torch.cat([full_mask(learned), _readable(attention_mask)], 1)  # the class token counts as the words do
        read = model.qformer(
            query_embeds=said + model.embeddings.position_embeddings(places), query_length=0, attention_mask=mask
        )[0]
        query = F.normalize(model.text_projection(read[:, 0]).float(), dim=-1)
        distance = (output.prompt.float() - self.learned.detach().float().mean(1)).square().mean(1)
        return LearnedPrompt(query, distance)

    # ----------------------------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config and own weights into a folder, and the BLIP-2 model into a folder inside."""
        folder = Path(folder)
        config = {"model_type": SPRC, "vision_eps": self.vision_eps, "pad_ratio": self.pad_ratio}
        config["first_norm"] = self.first_norm is not None
        own = {name: one for name, one in self.state_dict().items() if not name.startswith(f"{TOWER}.")}
        write_model(folder, config, own)
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
        composer = cls.from_tower(
            load_composer(folder / TOWER), name or folder.name, config.get("vision_eps"),
            pad_ratio=config.get("pad_ratio"), first_norm=bool(config.get("first_norm")),
        )  # fmt: skip
        with fitting(folder):
            lacking, extra = composer.load_state_dict(weights, strict=False)
        wrong = [*extra, *(one for one in lacking if not one.startswith(f"{TOWER}."))]
        if wrong:
            raise InputError(f"the weights in {folder} do not fit its config.json: {wrong[0]} is missing or too many")
        return composer.eval()

    @classmethod
    def from_tower(
        cls,
        tower: str | Path | Composer,
        name: str | None = None,
        vision_eps: float | None = None,
        *,
        pad_ratio: float | None = None,
        first_norm: bool = False,
    ) -> SprcComposer:
        """Make a composer of a BLIP-2 for image-text retrieval: it starts with BLIP-2's own weights.

        Args:
            tower: Folder or hub id, or the loaded composer.
            name: What the model is called.
            vision_eps: See the class.
            pad_ratio: See the class.
            first_norm: See the class.

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
        named = name or f"sprc on {towers.name}"
        return cls(towers, named, vision_eps, pad_ratio=pad_ratio, first_norm=first_norm).eval()


def _readable(mask: Tensor) -> Tensor:
    """Show all tokens of an empty text: attention to nothing is not a number."""
    return torch.where(mask.bool().any(1, keepdim=True), mask, 1)
