"""Which contrastive image-text models of transformers are taken as they are, and what is particular to each.

Everything here follows from a model's ``config.json``; transformers is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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
            gradient. In BridgeTower it is what the last layer of both streams reads, where all of the picture comes
            together. In GroupViT it is the last place where all patches are there, before they are put into groups.
            Else it is the last output that lies on the grid.
        fixed_length: Texts are filled up to the longest that the model takes, as in its training, and the padding is
            not masked.
        text_class_token: The text is read at its class token by hand, since some releases of transformers 4 look for a
            pooled output in its place and find none.
        extra_positions: Positions of the text tower that hold no token.
        composer: How the model is run: ``"towers"``, picture and text each by its own; ``"patches"``, the same with
            pictures cut into patches, as many as their shape asks for (NaFlex); ``"matching"``, ``"queries"`` and
            ``"joint"`` and ``"bridge"``, with a match logit of picture and text seen together, as BLIP, BLIP-2, ViLT
            and BridgeTower do.
        architectures: Of the models that share the ``model_type``, those that can be used; any where empty.
        instead: What is wrong with the others, and what to use.
        within: What a larger model of the same ``model_type`` puts before the names of this one's weights, where
            transformers does not take it off in all releases.
    """

    title: str
    model_class: str
    layer: Callable[[Any], str]
    fixed_length: bool = False
    text_class_token: bool = False
    extra_positions: int = 0
    composer: Literal["towers", "patches", "matching", "queries", "joint", "bridge"] = "towers"
    architectures: tuple[str, ...] = ()
    instead: str = ""
    within: str = ""


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
        composer="patches",
    ),
    "clipseg": Family("CLIPSeg, its CLIP", "CLIPSegModel", _CLIP_LAYER, within="clip."),
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
        composer="matching",
        architectures=("BlipForImageTextRetrieval",),
        instead="which has no image-text matching head: use a BlipForImageTextRetrieval, such as "
        "Salesforce/blip-itm-base-coco",
    ),
    "blip-2": Family(
        "BLIP-2, image-text matching",
        "Blip2ForImageTextRetrieval",
        _always("model.vision_model.post_layernorm"),
        composer="queries",
        architectures=("Blip2ForImageTextRetrieval",),
        instead="which has no image-text matching head: use a Blip2ForImageTextRetrieval, such as "
        "Salesforce/blip2-itm-vit-g",
    ),
    "vilt": Family(
        "ViLT, image-text retrieval",
        "ViltForImageAndTextRetrieval",
        _before_the_last_attention("vilt", "encoder.layer", "layernorm_before"),
        composer="joint",
        architectures=("ViltForImageAndTextRetrieval",),
        instead="which does not say how well picture and text match: use a ViltForImageAndTextRetrieval, such as "
        "dandelin/vilt-b32-finetuned-coco",
    ),
    "bridgetower": Family(
        "BridgeTower, image-text matching",
        "BridgeTowerForImageAndTextRetrieval",
        lambda config: f"model.bridgetower.cross_modal_image_link_tower.{config.num_hidden_layers - 2}",
        composer="bridge",
        extra_positions=2,
    ),
}
"""By the ``model_type`` in ``config.json``."""


_OTHERS = {
    "_vision_model": "a vision tower without its text tower",
    "_text_model": "a text tower without its vision tower",
    "owlvit": "which finds boxes and has no score of a whole picture and text",
    "owlv2": "which finds boxes and has no score of a whole picture and text",
    "grounding-dino": "which finds boxes and has no score of a whole picture and text",
    "xclip": "which looks at videos",
}
"""What else people try, by the end of the ``model_type``."""


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
        what = next((f", {what}" for ending, what in _OTHERS.items() if str(kind).endswith(ending)), "")
        raise InputError(f"{name} is a {kind!r} model{what}: supported types are {', '.join(map(repr, FAMILIES))}")
    architectures = [str(one) for one in config.get("architectures") or ()]
    if family.architectures and architectures and not set(architectures) & set(family.architectures):
        raise InputError(f"{name} is a {kind!r} model of class {', '.join(architectures)}, {family.instead}")
    return family
