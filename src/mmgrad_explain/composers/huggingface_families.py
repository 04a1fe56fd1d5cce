"""Which contrastive image-text models of transformers are taken as they are, and what is particular to each.

Everything here follows from a model's ``config.json``; transformers is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _before_the_last_attention(tower: str, blocks: str, norm: str) -> Callable[[Any], str]:
    """The first norm of the last block: where a class token that pools the tower reads the patches a last time."""

    def layer(config: Any) -> str:
        return f"model.{tower}.{blocks}.{config.num_hidden_layers - 1}.{norm}"

    return layer


def _always(name: str) -> Callable[[Any], str]:
    return lambda _config: name


@dataclass(frozen=True)
class Family:
    """One ``model_type`` of transformers.

    Attributes:
        title: What people call it.
        model_class: The class in transformers that loads it.
        layer: Vision config to the dotted name of the layer that is explained, inside the composer. Where a class
            token stands for the picture, that is the input of the last attention: behind it only the class token has a
            gradient. In GroupViT it is the last place where all patches are there, before they are put into groups.
            Else it is the last output that lies on the grid.
        fixed_length: Texts are filled up to the longest that the model takes, as in its training, and the padding is
            not masked.
        text_class_token: The text is read at its class token by hand, since some releases of transformers 4 look for a
            pooled output in its place and find none.
        extra_positions: Positions of the text tower that hold no token.
        patches: Pictures are handed over cut into patches, as many as their shape asks for (NaFlex).
        matching: The score is a match logit of picture and text seen together.
        architectures: Of the models that share the ``model_type``, those that can be used; any where empty.
        instead: What is wrong with the others, and what to use.
    """

    title: str
    model_class: str
    layer: Callable[[Any], str]
    fixed_length: bool = False
    text_class_token: bool = False
    extra_positions: int = 0
    patches: bool = False
    matching: bool = False
    architectures: tuple[str, ...] = ()
    instead: str = ""


_CLIP_LAYER = _before_the_last_attention("vision_model", "encoder.layers", "layer_norm1")

FAMILIES: dict[str, Family] = {
    "clip": Family("CLIP", "CLIPModel", _CLIP_LAYER),
    "metaclip_2": Family("MetaCLIP 2", "MetaClip2Model", _CLIP_LAYER),
    "siglip": Family(
        "SigLIP, SigLIP 2 of a fixed resolution",
        "SiglipModel",
        _always("model.vision_model.post_layernorm"),
        fixed_length=True,
    ),
    "siglip2": Family(
        "SigLIP 2 NaFlex",
        "Siglip2Model",
        _always("model.vision_model.post_layernorm"),
        fixed_length=True,
        patches=True,
    ),
    "align": Family("ALIGN", "AlignModel", _always("model.vision_model.encoder")),
    "chinese_clip": Family("Chinese-CLIP", "ChineseCLIPModel", _CLIP_LAYER, text_class_token=True),
    "altclip": Family("AltCLIP", "AltCLIPModel", _CLIP_LAYER, extra_positions=2),
    "flava": Family(
        "FLAVA, its contrastive part",
        "FlavaModel",
        _before_the_last_attention("image_model", "encoder.layer", "layernorm_before"),
    ),
    "groupvit": Family("GroupViT", "GroupViTModel", _always("model.vision_model.encoder.stages.0.downsample.norm_x")),
    "blip": Family(
        "BLIP, image-text matching",
        "BlipForImageTextRetrieval",
        _always("model.vision_model.post_layernorm"),
        matching=True,
        architectures=("BlipForImageTextRetrieval",),
        instead="which has no image-text matching head: use a BlipForImageTextRetrieval, such as "
        "Salesforce/blip-itm-base-coco",
    ),
}
"""By the ``model_type`` in ``config.json``."""


def family_of(config: Mapping[str, Any], name: str) -> Family:
    """The family of a model.

    Args:
        config: Its ``config.json``.
        name: What it is called, for messages.

    Raises:
        InputError: If models of this type cannot be used.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        raise InputError(f"{name} is a {kind!r} model: supported types are {', '.join(map(repr, FAMILIES))}")
    architectures = [str(one) for one in config.get("architectures") or ()]
    if family.architectures and architectures and not set(architectures) & set(family.architectures):
        raise InputError(f"{name} is a {kind!r} model of class {', '.join(architectures)}, {family.instead}")
    return family
