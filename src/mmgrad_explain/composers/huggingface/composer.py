"""Contrastive image-text models of transformers as they are: CLIP, SigLIP, ALIGN and others.

Their scores, and their use for composed retrieval, are described in :mod:`~mmgrad_explain.composers.dual_encoder`.
What is particular to a family is in its file in ``families``.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mmgrad_explain.composers.base import Composer, layer_inside
from mmgrad_explain.composers.dual_encoder import DualEncoder, unit_features
from mmgrad_explain.composers.files import CONFIG, read_config
from mmgrad_explain.composers.huggingface.family import contrastive_families, contrastive_family_of
from mmgrad_explain.composers.huggingface.loading import make_readable, read_model, silent
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor, check_end_token
from mmgrad_explain.composers.in_memory import part_of, split_processor

if TYPE_CHECKING:
    from mmgrad_explain.composers.huggingface.family import ContrastiveFamily


class HuggingFaceModel(Composer):
    """A model of one of the families, with its processor.

    Args:
        model: A model of the family's class.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    processor_class: ClassVar[type[HuggingFaceProcessor]] = HuggingFaceProcessor

    def __init__(self, model: Any, processor: HuggingFaceProcessor, family: ContrastiveFamily, name: str) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.family = family
        self.name = name
        # If a release of transformers names the model's parts differently, the layer is searched at every explanation.
        self.target_layer = layer_inside(self, family.layer(self._layer_config()))

    def _layer_config(self) -> Any:
        """Get the config that the family's ``layer`` is a function of."""
        return self.model.config


class HuggingFaceComposer(HuggingFaceModel, DualEncoder):
    """A contrastive image-text model of transformers with its own processor.

    Args:
        model: A model of the family's class.
        processor: For it.
        family: What is particular to it.
        name: What it is called.
    """

    def _layer_config(self) -> Any:
        return _vision_config(self.model)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Embed images ``(B, 3, H, W)``: unit embeddings ``(B, D)``, or tokens to read with a text."""
        pixel_values = pixel_values.to(self.model.dtype)  # not every tower does that itself
        return unit_features(self.model.get_image_features(pixel_values, **self._interpolation(pixel_values)))

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed ids and mask ``(B, L)``: unit embeddings ``(B, D)``."""
        if self.family.text_class_token:
            states = self.model.text_model(input_ids, attention_mask=attention_mask)[0]
            return unit_features(self.model.text_projection(states[:, 0]))
        mask = None if self.family.fixed_length else attention_mask
        return unit_features(self.model.get_text_features(input_ids, attention_mask=mask))

    def _interpolation(self, pixel_values: Tensor) -> dict[str, bool]:
        """Return the option that stretches the vision tower's positions, for images of another size than its own."""
        trained = _vision_config(self.model).image_size
        if tuple(pixel_values.shape[2:]) == (trained, trained):
            return {}
        method = getattr(self.model, "get_image_features", None) or self.model.vision_model.forward
        option = "interpolate_pos_encoding"
        return {option: True} if option in inspect.signature(method).parameters else {}

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> Composer:
        """Read a folder in the format of transformers and its hub; no code in it is run.

        Args:
            folder: With config, weights, image processor and tokenizer.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged, or the model is of a kind that is not supported.
        """
        family = contrastive_family_of(read_config(folder), name)
        model = read_model(folder, family.model_class, family.title, prefix=family.weights_prefix)
        kind = family.composer or HuggingFaceComposer
        with silent():
            processor = kind.processor_class.from_pretrained(
                folder, _text_positions(model.config, family), fixed_length=family.fixed_length
            )
        check_end_token(model, processor.tokenizer)
        composer: Composer = kind(model, processor, family, name)
        return composer.eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> Composer:
        """Wrap a model of transformers as it is.

        Args:
            model: Of the class of one of the families, or with such a model inside.
            processor: See :func:`~.in_memory.split_processor`.
            name: What the model is called.

        Raises:
            InputError: If the model is of a kind that is not supported, or something is missing.
        """
        model_type = str(model.config.model_type)
        families = contrastive_families()
        wanted = families[model_type].architectures if model_type in families else ()
        bases = [base.__name__ for base in type(model).__mro__ if base.__name__ in wanted] or [type(model).__name__]
        family = contrastive_family_of({"model_type": model_type, "architectures": bases}, name)
        kind = family.composer or HuggingFaceComposer
        model = part_of(model, family.model_class, family.title)
        images, tokenizer = split_processor(processor, model)
        check_end_token(model, tokenizer)
        positions = min(_text_positions(model.config, family), tokenizer.model_max_length)
        prepared = kind.processor_class(images, tokenizer, positions, fixed_length=family.fixed_length)
        composer: Composer = kind(model, prepared, family, name)
        return composer

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model and its processor into a folder in the format of transformers; make the folder if needed."""
        folder = Path(folder)
        with silent():
            self.model.save_pretrained(folder)
            self.processor.image_processor.save_pretrained(folder)
            self.processor.tokenizer.save_pretrained(folder)
        make_readable(folder, CONFIG)


def full_mask(tokens: Tensor) -> Tensor:
    """Make a mask ``(B, N)`` int64 of ones for tokens ``(B, N, W)``."""
    return torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)


def _vision_config(model: Any) -> Any:
    return getattr(model.config, "vision_config", None) or model.config.image_config


def _text_positions(config: Any, family: ContrastiveFamily) -> int:
    """Count the tokens of the longest text; BLIP-2's texts are read by the Q-Former, not by its language model."""
    parts = (getattr(config, part, None) for part in ("qformer_config", "text_config"))
    return int(next(filter(None, parts), config).max_position_embeddings) - family.extra_positions
