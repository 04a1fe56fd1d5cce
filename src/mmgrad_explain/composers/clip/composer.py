"""CLIP with a combiner: a composer on top of any CLIP of transformers.

The image's own embedding is CLIP's, ``z(I)``; the text changes it by a combiner on both of CLIP's unit embeddings::

    f(I, T) = z(I) + D(I, T),    D = MLP([i, t]) + g (z(T) - z(I)),    g = sigmoid(MLP'([i, t]))

``i`` and ``t`` are projections of ``z(I)`` and ``z(T)``. Source: Baldrati et al., CLIP4Cir, CVPR Workshops 2022 (there
``f = MLP + g z(T) + (1 - g) z(I)``, which is the same). Gallery images need no combiner, and ``D`` is the text shift.

Maps are taken at the first norm of the last block of CLIP's vision tower: the class token reads the patches there, so
that they have a gradient; at the last block's own output only the class token has one.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.clip.processor import ClipProcessor
from mmgrad_explain.composers.files import (
    CONFIG,
    fill,
    fitting,
    read_config,
    read_own_model,
    write_model,
)
from mmgrad_explain.composers.huggingface.processor import check_end_token
from mmgrad_explain.composers.model_types import CLIP_COMBINER
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}
"""Activations of a combiner by name."""


@dataclass(frozen=True)
class CombinerConfig:
    """Sizes of :class:`Combiner`.

    Attributes:
        embed_dim: Length of CLIP's embeddings.
        width: Of the projections.
        dropout: In training.
        hidden: Width of the hidden layer; None makes it twice as wide as the projections.
        gate_width: Width of the gate's hidden layer; None makes it as wide as the projections.
        activation: ``gelu`` or ``relu``.
        text_first: Whether the text's projection comes before the image's where the two are joined.
        gate_dropout: In training, in the gate.

    Raises:
        InputError: There is no such activation.
    """

    embed_dim: int = 512
    width: int = 512
    dropout: float = 0.1
    hidden: int | None = None
    gate_width: int | None = None
    activation: str = "gelu"
    text_first: bool = False
    gate_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATIONS)


class Combiner(nn.Module):
    """Computes a text's change of an image's embedding, from the two embeddings alone.

    Args:
        config: Sizes.
    """

    def __init__(self, config: CombinerConfig) -> None:
        super().__init__()
        self.config = config
        drop, act = config.dropout, ACTIVATIONS[config.activation]
        joined, hidden = 2 * config.width, config.hidden or 2 * config.width
        gate_width = config.gate_width or config.width
        self.image = nn.Sequential(nn.Linear(config.embed_dim, config.width), act(), nn.Dropout(drop))
        self.text = nn.Sequential(nn.Linear(config.embed_dim, config.width), act(), nn.Dropout(drop))
        self.mix = nn.Sequential(
            nn.Linear(joined, hidden), act(), nn.Dropout(drop), nn.Linear(hidden, config.embed_dim)
        )
        gated = nn.Sequential(act(), nn.Dropout(config.gate_dropout)) if config.gate_dropout else act()
        self.gate = nn.Sequential(nn.Linear(joined, gate_width), gated, nn.Linear(gate_width, 1), nn.Sigmoid())

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Compute the shift ``(B, D)`` from embeddings ``(B, D)`` of images and texts."""
        parts = self.image(image), self.text(text)
        both = torch.cat(parts[::-1] if self.config.text_first else parts, dim=-1)
        return self.mix(both) + self.gate(both) * (text - image)  # type: ignore[no-any-return]


class ClipComposer(Composer):
    """A CLIP model with a combiner.

    It has stages for training: an image's features are the tokens before the last block of the vision tower, or its
    embedding.

    Args:
        clip: A ``transformers.CLIPModel``.
        processor: For it.
        combiner: See :class:`Combiner`.
        name: What the model is called.

    Raises:
        InputError: The processor's texts do not have CLIP's end token.
    """

    default_score: ClassVar[str | None] = "shift"
    composes_embeddings: ClassVar[bool] = True
    backbone: tuple[str, ...] = ("clip",)
    """The pretrained part."""

    def __init__(self, clip: Any, processor: ClipProcessor, combiner: Combiner, name: str = "clip") -> None:
        super().__init__()
        check_end_token(clip, processor.tokenizer)
        self.clip = clip
        self.combiner = combiner
        self.processor = processor
        self.name = name
        self.checkpointing = False
        self.feature_width: int = clip.config.vision_config.hidden_size
        self.embed_dim: int = clip.config.projection_dim
        self.target_layer = f"clip.vision_model.encoder.layers.{len(self._blocks) - 1}.layer_norm1"

    @property
    def _blocks(self) -> nn.ModuleList:
        return self.clip.vision_model.encoder.layers  # type: ignore[no-any-return]

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> ComposedOutput:
        """Compose images with texts.

        Args:
            pixel_values: Reference images, ``(B, 3, S, S)``, normalised.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``; all 0 is an empty text, which changes nothing.
            target_pixel_values: Target images, like ``pixel_values``.
        """
        text = self.encode_text(input_ids, attention_mask)
        composed = self.compose(self.encode_image(pixel_values), text)
        if target_pixel_values is None:
            return composed
        target, target_shift = self._parts(self.encode_image(target_pixel_values), text)
        return composed._replace(target=target, target_shift=target_shift, target_composed=target + target_shift)

    # ------------------------------------------------------------------------------------------------------- in stages

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode pixels ``(B, 3, S, S)`` to the tokens before the last block, ``(B, 1 + N, W)``."""
        vision = self.clip.vision_model
        tokens = vision.pre_layrnorm(vision.embeddings(pixel_values))
        for block in self._blocks[:-1]:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(_run, block, tokens, use_reentrant=False)
            else:
                tokens = _run(block, tokens)
        return tokens  # type: ignore[no-any-return]

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Encode ids and mask ``(B, L)``: unit embeddings ``(B, D)``, and whether each text has words, ``(B, 1)``."""
        pooled = self.clip.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return F.normalize(self.clip.text_projection(pooled).float(), dim=-1), attention_mask.bool().any(
            1, keepdim=True
        )

    def compose(self, features: Tensor, text: tuple[Tensor, ...]) -> ComposedOutput:
        """Compose B images' features with B encoded texts: an output without a target. Maps are taken here."""
        identity, shift = self._parts(features, text)
        return ComposedOutput(identity + shift, shift)

    def _parts(self, features: Tensor, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        sentence, has_words = text
        identity = self.embed(features)
        return identity, self.combiner(identity, sentence) * has_words

    def embed(self, features: Tensor) -> Tensor:
        """Embed images from their tokens: unit embeddings ``(B, D)``; these are returned as they are."""
        if features.ndim == 2:
            return features
        vision = self.clip.vision_model
        pooled = vision.post_layernorm(_run(self._blocks[-1], features)[:, 0])
        return F.normalize(self.clip.visual_projection(pooled).float(), dim=-1)

    def shift(self, features: Tensor, text: tuple[Tensor, ...]) -> Tensor:
        """Compute the texts' changes, ``(B, D)``."""
        return self._parts(features, text)[1]

    def feature_grid(self, features: Tensor) -> Tensor:
        """Put the patches' tokens on their grid, ``(B, W, h, w)``."""
        patches = features[:, 1:].transpose(1, 2)
        side = round(patches.shape[2] ** 0.5)
        return patches.reshape(*patches.shape[:2], side, side)

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the activations of all blocks but the last in the backward pass instead of keeping them."""
        self.checkpointing = True

    # ----------------------------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config, weights, tokenizer and preprocessing into a folder; make the folder if needed."""
        folder = Path(folder)
        config = {
            "model_type": CLIP_COMBINER,
            "combiner": asdict(self.combiner.config),
            "clip": self.clip.config.to_dict(),
        }
        write_model(folder, config, self.state_dict())
        self.processor.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> ClipComposer:
        """Read what :meth:`save_pretrained` wrote; safetensors only.

        Raises:
            InputError: The folder holds no such model, or its weights do not fit its config.
        """
        from transformers import CLIPConfig, CLIPModel

        folder = Path(folder)
        config, weights = read_own_model(folder, CLIP_COMBINER, safetensors_only=True)
        processor = ClipProcessor.from_pretrained(folder)
        with fitting(folder):
            combiner, clip = CombinerConfig(**config["combiner"]), CLIPConfig.from_dict(config["clip"])
            if processor.image_size != clip.vision_config.image_size:
                raise InputError(f"{folder}: its processor and its vision tower have different image_size")
            composer = fill(lambda: cls(CLIPModel(clip), processor, Combiner(combiner), name or folder.name), weights)
        return composer.eval()

    @classmethod
    def from_clip(cls, model: str | Path, *, width: int = 512, fit: str = "letterbox") -> ClipComposer:
        """Put a new combiner on a CLIP model.

        Args:
            model: Folder or hub id of a ``transformers`` CLIP model with safetensors weights.
            width: Of the combiner.
            fit: How images are fitted into CLIP's square: ``letterbox`` or ``crop``.

        Raises:
            InputError: There is no such model, it cannot be fetched, or it has no safetensors weights.
        """
        from transformers import CLIPModel

        try:
            with _quiet():
                clip = CLIPModel.from_pretrained(str(model), use_safetensors=True)
            processor = ClipProcessor.from_clip(str(model), clip.config, fit)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{model} cannot be loaded as CLIP: {str(error).splitlines()[0]}") from error
        config = CombinerConfig(embed_dim=clip.config.projection_dim, width=width)
        return cls(clip, processor, Combiner(config), Path(str(model)).name)


def is_clip(model: str) -> bool:
    """Return whether a folder or hub id is a plain CLIP model of transformers; False if it cannot be read."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return (folder / CONFIG).is_file() and read_config(folder).get("model_type") == "clip"
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(model)
    except (OSError, ValueError):
        return False
    return bool(config.get("model_type") == "clip")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' progress bars inside the block if standard error is not a terminal."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _run(block: nn.Module, tokens: Tensor) -> Tensor:
    """Run a vision block without a mask; in transformers 4 it takes a second mask and returns a tuple."""
    import inspect

    wanted = inspect.signature(block.forward).parameters
    more = {"causal_attention_mask": None} if "causal_attention_mask" in wanted else {}
    output = block(tokens, attention_mask=None, **more)
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]
