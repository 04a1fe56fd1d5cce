"""transformers' own pair of any vision and any text model, ``VisionTextDualEncoderModel`` (as in arXiv 2111.07991)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.huggingface.composer import HuggingFaceComposer
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily
from mmgrad_explain.composers.huggingface.loading import read_model
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.in_memory import part_of, split_processor

if TYPE_CHECKING:
    from pathlib import Path

_CLASS = "VisionTextDualEncoderModel"
# For each type of vision model, the names that releases of transformers give the default layer: if a class token stands
# for the image, the first norm of the last block, {} being its number; if all patches are pooled, the last norm.
_VIT = ("encoder.layer.{}.layernorm_before", "layers.{}.layernorm_before")
_CLIP = ("encoder.layers.{}.layer_norm1", "vision_model.encoder.layers.{}.layer_norm1")
_LAYERS = {
    "vit": _VIT,
    "deit": _VIT,
    "clip_vision_model": _CLIP,
    "dinov2": ("encoder.layer.{}.norm1", "layers.{}.norm1"),
    "siglip_vision_model": ("post_layernorm", "vision_model.post_layernorm"),
    "swin": ("layernorm",),
    "swinv2": ("layernorm",),
}


class VisionTextComposer(HuggingFaceComposer):
    """A ``VisionTextDualEncoderModel`` with its own processor.

    The layer of a vision model of another type is searched at every explanation.
    """

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> VisionTextComposer:
        """Read a folder in the format of transformers and its hub; no code in it is run.

        Args:
            folder: With config, weights, image processor and tokenizer.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged.
        """
        model = read_model(folder, _CLASS, "a pair of a vision and a text model")
        processor = HuggingFaceProcessor.from_pretrained(folder, _text_positions(model), fixed_length=False)
        return cls(model, processor, _family(model), name).eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> VisionTextComposer:
        """Wrap a ``VisionTextDualEncoderModel`` as it is.

        Args:
            model: In any mode, on any device.
            processor: See :func:`~.in_memory.split_processor`.
            name: What the model is called.

        Raises:
            InputError: If the processor, or a part of it, is missing.
        """
        model = part_of(model, _CLASS, "transformers' pairs of a vision and a text model")
        images, tokenizer = split_processor(processor, model)
        positions = min(_text_positions(model), tokenizer.model_max_length)
        return cls(model, HuggingFaceProcessor(images, tokenizer, positions), _family(model), name)


def _family(model: Any) -> ContrastiveFamily:
    return ContrastiveFamily("VisionTextDualEncoder", _CLASS, always(default_layer(model)), ContrastiveCheckpoint(""))


def _text_positions(model: Any) -> int:
    """Count the tokens that the text model takes."""
    text = model.config.text_config
    padded = int(text.pad_token_id) + 1 if "roberta" in text.model_type else 0
    return int(text.max_position_embeddings) - padded


def default_layer(model: Any) -> str:
    """Find the dotted name of the layer that is explained by default, inside the composer; ``"none"`` if unknown."""
    vision = model.config.vision_config
    last = getattr(vision, "num_hidden_layers", 0) - 1
    names = (f"vision_model.{name.format(last)}" for name in _LAYERS.get(vision.model_type, ()))
    modules = dict(model.named_modules())
    return next((f"model.{name}" for name in names if name in modules), "none")
