"""A composer of two parts: a model with two towers, and a method that composes their outputs.

The towers are any :class:`~mmgrad_explain.composers.dual_encoder.DualEncoder`; the methods are those of
:mod:`~mmgrad_explain.composers.fusion.methods`. The patches that a method reads are the output of the tower's target
layer: the last grid before any text is mixed in at which every position has a gradient. Maps are taken there.
"""

from __future__ import annotations

import operator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.model_hints import ask_layout_for
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.dual_encoder import as_projected
from mmgrad_explain.composers.files import (
    CONFIG,
    fill,
    fitting,
    read_own_model,
    write_model,
)
from mmgrad_explain.composers.fusion.methods import MethodImages, MethodTexts, Sizes
from mmgrad_explain.composers.fusion.processor import PROMPT, FusionProcessor
from mmgrad_explain.composers.fusion.registry import build_fusion, method_of
from mmgrad_explain.composers.fusion.tower_reading import (
    explained_layer,
    measure_sizes,
    patch_grid,
    record_tokens,
    replace_output,
    save_tower,
    token_layer,
    two_towers,
)
from mmgrad_explain.composers.model_types import FUSION
from mmgrad_explain.composers.openclip.folders import CONFIG_FILE as OPEN_CLIP_CONFIG
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.composers.dual_encoder import DualEncoder
    from mmgrad_explain.composers.fusion.methods import Fusion

TOWER = "tower"
"""The folder of the tower, inside the composer's."""


class FusionComposer(Composer):
    """A tower with a method of composed image retrieval.

    ``embedding`` is ``f(I, T)``, ``shift`` is ``f(I, T) - f(I, -)``, exactly zero for an empty text, and ``target`` is
    the embedding of the target image that a gallery holds.

    Args:
        tower: Embeds images and texts.
        method: Name of the method, from :data:`~mmgrad_explain.composers.fusion.registry.METHODS`.
        fusion: The method, made for this tower.
        prompt: For a method with a prompt, see :class:`~mmgrad_explain.composers.fusion.processor.FusionProcessor`.
        pad_ratio: Long images are padded towards this ratio of their sides before the tower's own resize and crop, as
            CLIP4Cir and SEARLE pad them to 1.25; None leaves them as they are.
        name: What the model is called.

    Raises:
        InputError: If the tower lacks an input of the method.
    """

    default_score: ClassVar[str | None] = "shift"
    default_method = "gradcam"
    backbone: tuple[str, ...] = (TOWER,)
    """The part that was trained before."""

    blank_ids: Tensor
    blank_mask: Tensor

    def __init__(
        self,
        tower: DualEncoder,
        method: str,
        fusion: Fusion,
        *,
        prompt: str = PROMPT,
        pad_ratio: float | None = None,
        name: str = "fusion",
    ) -> None:
        super().__init__()
        self.tower = tower
        self.method = method
        self.fusion = fusion
        self.name = name
        self.pad_ratio = pad_ratio
        self.processor = FusionProcessor(tower.processor, prompt if "prompt" in fusion.reads else None, pad_ratio)
        ids, mask = (tensor.to(device_of(tower)) for tensor in self.processor.blank)
        self.register_buffer("blank_ids", ids, persistent=False)
        self.register_buffer("blank_mask", mask, persistent=False)
        self._patches = explained_layer(tower, fusion.reads)
        self._tokens = token_layer(tower, fusion.reads)
        self.target_layer = None if self._patches is None else f"{TOWER}.{self._patches}"
        if ask_layout_for(tower) is not None:
            self.layout_for = partial(_layout_in, tower)

    @property
    def embed_dim(self) -> int:
        """Length of the embeddings."""
        return self.fusion.sizes.embed_dim

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """Compose images with texts.

        Args:
            pixel_values: Reference images as the tower's processor gives them, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, which changes nothing.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        composed = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return composed
        targets = self.encode_image(target_pixel_values)
        other = self.compose(targets, text)
        alone = self.fusion.for_gallery(targets, self._empty_texts(targets.pooled))
        return composed._replace(target=alone, target_shift=other.shift, target_composed=other.embedding)

    # ------------------------------------------------------------------------------------------------------- in stages

    def encode_image(self, pixel_values: Tensor) -> MethodImages:
        """Encode pixels ``(B, 3, H, W)``: embeddings, and patches if the method reads them."""
        wanted = self._patches if "grid" in self.fusion.reads else None
        with record_tokens(self.tower, wanted) as outputs, as_projected(not self.fusion.normalise_inputs):
            pooled = self._pooled(self.tower.encode_image(pixel_values))
        if wanted is None:
            return MethodImages(pooled)
        return MethodImages(pooled, patch_grid(self.tower, outputs[0], pixel_values).to(pooled.dtype))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> MethodTexts:
        """Encode ids and mask ``(B, L)`` to the method's inputs."""
        mask = attention_mask.bool()
        if "prompt" in self.fusion.reads:
            return MethodTexts(mask, embed_prompts=partial(self._embed_prompts, input_ids, attention_mask))
        with record_tokens(self.tower, self._tokens) as outputs, as_projected(not self.fusion.normalise_inputs):
            pooled = self._to_own_dtype(self.tower.encode_text(input_ids, attention_mask)[0])
        return MethodTexts(mask, pooled, None if self._tokens is None else outputs[0].to(pooled.dtype))

    def compose(self, features: MethodImages, text: MethodTexts) -> ComposedOutput:
        """Compose B encoded images with B encoded texts: an output without a target."""
        nothing = self._empty_texts(features.pooled)
        before = self.fusion.without_text(features, nothing)
        shift = (self.fusion(features, text) - before) * text.mask.any(1, keepdim=True)
        alone = self.fusion.for_gallery(features, nothing) if self.fusion.gallery_differs else None
        return ComposedOutput(before + shift, shift, alone=alone)

    def _pooled(self, features: Tensor) -> Tensor:
        """Make embeddings ``(B, D)`` of the output of the tower's encoder, which may be tokens."""
        if features.ndim == 2:
            return self._to_own_dtype(features)
        ids, mask = self._blank(len(features))
        return self._to_own_dtype(self.tower.compose(features, self.tower.encode_text(ids, mask)).image)

    def _to_own_dtype(self, tensor: Tensor) -> Tensor:
        return tensor.to(next(self.fusion.parameters()).dtype)

    def _blank(self, count: int) -> tuple[Tensor, Tensor]:
        return self.blank_ids.expand(count, -1), self.blank_mask.expand(count, -1)

    def _empty_texts(self, like: Tensor) -> MethodTexts:
        """Make an empty text for each row of ``like``, ``(B, D)``."""
        ids, mask = self._blank(len(like))
        words = like.new_zeros(len(like), 1, max(1, self.fusion.sizes.word_width))
        return MethodTexts(
            words[:, :, 0].bool(), torch.zeros_like(like), words, partial(self._embed_prompts, ids, mask)
        )

    def _embed_prompts(self, input_ids: Tensor, attention_mask: Tensor, word: Tensor) -> Tensor:
        """Embed prompts ``(B, L)`` with pseudo-words ``(B, W)`` inserted: unit embeddings ``(B, D)``."""
        index = self.processor.word_index or 0

        def insert(tokens: Tensor) -> Tensor:
            return torch.cat([tokens[:, :index], word[:, None].to(tokens.dtype), tokens[:, index + 1 :]], dim=1)

        with replace_output(self.tower, str(self._tokens), insert):
            return self._to_own_dtype(self.tower.encode_text(input_ids, attention_mask)[0])

    # ----------------------------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config and weights into a folder, and the tower into a folder inside; make the folders if needed."""
        folder = Path(folder)
        sizes = vars(self.fusion.sizes)
        config: dict[str, Any] = {
            "model_type": FUSION,
            "method": self.method,
            "sizes": sizes,
            "options": self.fusion.options,
        }
        if self.processor.prompt is not None:
            config["prompt"] = self.processor.prompt
        if self.pad_ratio is not None:
            config["pad_ratio"] = self.pad_ratio
        write_model(folder, config, self.fusion.state_dict())
        save_tower(self.tower, folder / TOWER)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> FusionComposer:
        """Read what :meth:`save_pretrained` wrote; safetensors only.

        Raises:
            InputError: If the folder holds no such model, or its weights do not fit its config.
        """
        from mmgrad_explain.composers.load import load_composer

        folder = Path(folder)
        config, weights = read_own_model(folder, FUSION, safetensors_only=True)
        if not any((folder / TOWER / file).is_file() for file in (CONFIG, OPEN_CLIP_CONFIG)):
            raise InputError(f"{folder} has no {TOWER}/{CONFIG}")
        tower = two_towers(load_composer(folder / TOWER))
        with fitting(folder):
            sizes = Sizes(**{name: operator.index(size) for name, size in config["sizes"].items()})
            fusion = fill(lambda: build_fusion(config["method"], sizes, config["options"]), weights)
        prompt, ratio = config.get("prompt", PROMPT), config.get("pad_ratio")
        named = name or folder.name
        return cls(tower, config["method"], fusion, prompt=prompt, pad_ratio=ratio, name=named).eval()

    @classmethod
    def from_tower(
        cls,
        tower: str | Path | Composer,
        method: str,
        *,
        prompt: str = PROMPT,
        pad_ratio: float | None = None,
        **options: Any,
    ) -> FusionComposer:
        """Put a method with random weights on a tower.

        Until it is trained, its maps say nothing about what a text changes.

        Args:
            tower: Folder or hub id of a two-tower model, or the loaded composer.
            method: ``"tirg"``, ``"tirg-spatial"``, ``"film"``, ``"cross-attention"``, ``"combiner"``, ``"inversion"``
                or ``"qformer"``.
            prompt: For ``"inversion"``: a text with ``$`` for the pseudo-word and, after it, ``{text}``.
            pad_ratio: See the class.
            **options: Sizes of the method, see its class.

        Raises:
            InputError: If there is no such model, method or option, or the model has no two towers.
        """
        from mmgrad_explain.composers.load import load_composer

        reads = method_of(method).reads
        towers = two_towers(tower if isinstance(tower, Composer) else load_composer(tower))
        fusion = build_fusion(method, measure_sizes(towers, reads), options)
        fusion = fusion.to(device_of(towers))
        named = f"{method} on {towers.name}"
        return cls(towers, method, fusion, prompt=prompt, pad_ratio=pad_ratio, name=named).eval()


def _layout_in(tower: Any, layer: str, *args: Any, **kwargs: Any) -> Any:
    """Find the layout of a layer's output by its tower; None for a layer outside the tower."""
    inside = layer.removeprefix(f"{TOWER}.")
    return None if inside == layer else tower.layout_for(inside, *args, **kwargs)
