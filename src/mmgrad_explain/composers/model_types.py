"""Find the composer class for a ``model_type`` of ``config.json``: the one list of models.

Families of transformers are in the packages ``huggingface.families`` and ``generative.families``, one file a family.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

REFERENCE = "mmgrad_reference"
CLIP_COMBINER = "mmgrad_clip_composer"
FUSION = "mmgrad_fusion"
TWO_TOWER = "mmgrad_two_tower"
SPRC = "mmgrad_sprc"
VISION_TEXT = "vision-text-dual-encoder"
OPEN_CLIP = "open_clip"
"""Stands for all models of open_clip, whose configs have no ``model_type``."""

_OF_OTHER_LIBRARIES = {
    REFERENCE: ("reference.composer", "ReferenceComposer"),
    VISION_TEXT: ("huggingface.vision_text", "VisionTextComposer"),
    OPEN_CLIP: ("openclip.composer", "OpenClipComposer"),
}
_OF_THIS_PACKAGE = {
    CLIP_COMBINER: ("clip.composer", "ClipComposer"),
    FUSION: ("fusion.composer", "FusionComposer"),
    TWO_TOWER: ("towers.composer", "TwoTowerComposer"),
    SPRC: ("sprc.composer", "SprcComposer"),
}
_GENERATIVE = ("generative.composer", "GenerativeComposer")
_CONTRASTIVE = ("huggingface.composer", "HuggingFaceComposer")


def composer_class(model_type: str, *, in_memory: bool = False) -> Any:
    """Find the composer class for a model.

    Args:
        model_type: As in the model's config, or :data:`OPEN_CLIP`. An unknown type gets the class for contrastive
            models of transformers, which refuses it with a list of the supported types.
        in_memory: Whether the model is an object of its library instead of a folder.
    """
    known = _OF_OTHER_LIBRARIES if in_memory else _OF_OTHER_LIBRARIES | _OF_THIS_PACKAGE
    module, name = known.get(model_type) or (_GENERATIVE if is_generative(model_type) else _CONTRASTIVE)
    return getattr(import_module(f"mmgrad_explain.composers.{module}"), name)


def is_generative(model_type: str) -> bool:
    """Return whether models of this type answer in words."""
    from mmgrad_explain.composers.generative.family import generative_families

    return model_type in generative_families()


def is_image_text_model(model_type: str) -> bool:
    """Return whether transformers has models of this type that read images and texts and that can be explained."""
    from mmgrad_explain.composers.huggingface.family import contrastive_families

    return model_type == VISION_TEXT or model_type in contrastive_families() or is_generative(model_type)
