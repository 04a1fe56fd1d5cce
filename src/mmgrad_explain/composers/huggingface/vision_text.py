"""transformers' own pair of any vision and any text model, ``VisionTextDualEncoderModel`` (as in arXiv 2111.07991)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.huggingface.composers import HuggingFaceComposer
from mmgrad_explain.composers.huggingface.families import Family
from mmgrad_explain.composers.huggingface.files import read_model
from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.in_memory import part_of, pictures_and_words

if TYPE_CHECKING:
    from pathlib import Path

MODEL_TYPE = "vision-text-dual-encoder"
_CLASS = "VisionTextDualEncoderModel"
# By the vision model's type, the names that transformers gives the layer: where a class token stands for the picture,
# the first norm of the last block, {} its number; where all patches are pooled, the last norm.
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

    Of a vision model that is not in the list here the layer is looked for at every explanation.
    """

    @classmethod
    def from_pretrained(cls, folder: Path, name: str) -> VisionTextComposer:
        """Read a folder as transformers and its hub have it; no code in it is run.

        Args:
            folder: With config, weights, image processor and tokenizer.
            name: What the model is called.

        Raises:
            InputError: If something is missing or damaged.
        """
        model = read_model(folder, _CLASS, "a pair of a vision and a text model")
        processor = HuggingFaceProcessor.from_pretrained(folder, _positions(model), fixed_length=False)
        return cls(model, processor, _family(model), name).eval()

    @classmethod
    def from_memory(cls, model: Any, processor: Any, name: str) -> VisionTextComposer:
        """Take a ``VisionTextDualEncoderModel`` as it is.

        Args:
            model: In any mode, on any device.
            processor: See :func:`~.in_memory.pictures_and_words`.
            name: What the model is called.

        Raises:
            InputError: If the processor, or a part of it, is missing.
        """
        model = part_of(model, _CLASS, "transformers' pairs of a vision and a text model")
        images, words = pictures_and_words(processor, model)
        own = HuggingFaceProcessor(images, words, min(_positions(model), words.model_max_length))
        return cls(model, own, _family(model), name)


def _family(model: Any) -> Family:
    layer = layer_of(model)
    return Family("VisionTextDualEncoder", _CLASS, lambda _config: layer)


def _positions(model: Any) -> int:
    """How many tokens the text model takes."""
    text = model.config.text_config
    padded = int(text.pad_token_id) + 1 if "roberta" in text.model_type else 0
    return int(text.max_position_embeddings) - padded


def layer_of(model: Any) -> str:
    """The dotted name of the layer that is explained, or ``"none"`` where it is not known."""
    vision = model.config.vision_config
    last = getattr(vision, "num_hidden_layers", 0) - 1
    names = (f"vision_model.{name.format(last)}" for name in _LAYERS.get(vision.model_type, ()))
    there = dict(model.named_modules())
    return next((f"model.{name}" for name in names if name in there), "none")
