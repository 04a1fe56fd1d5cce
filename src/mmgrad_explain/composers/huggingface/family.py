"""What is particular to a family of contrastive or matching image-text models of transformers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.family_files import find_family, read_families
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class ContrastiveCheckpoint:
    """A public checkpoint of a family, as the table in the documentation shows it.

    Attributes:
        hub_id: Its id on the hub.
        config: Arguments of the model's config class: where the checkpoint differs from the defaults, and smaller sizes
            for parts that the table does not depend on.
        image_size: Side of the images, in pixels, if the image processor does not take it from the vision config.
        needs_weights: Whether the forward pass looks at values, so that a model on the meta device cannot run.
    """

    hub_id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    needs_weights: bool = False


@dataclass(frozen=True)
class ContrastiveFamily:
    """One ``model_type`` of transformers.

    Attributes:
        title: What people call it.
        model_class: The class in transformers that loads it.
        layer: Function of the vision config (of the whole config for models without one) that gives the default layer:
            its dotted name inside the composer. If a class token stands for the image, that is the input of the last
            attention: behind it only the class token has a gradient. Otherwise it is the last output that lies on a
            grid.
        checkpoint: A public checkpoint, for the documentation.
        composer: A subclass of :class:`~mmgrad_explain.composers.huggingface.composer.HuggingFaceComposer`, or a class
            with the same constructor; None for that class itself.
        fixed_length: Whether texts are padded to the longest length that the model takes, as in its training, without a
            mask for the padding.
        text_class_token: Whether the text's embedding is read at its class token; some releases of transformers 4 look
            for a pooled output instead and find none.
        extra_positions: Positions of the text tower that hold no token.
        architectures: The architectures of this ``model_type`` that are supported; all if empty.
        instead: What is wrong with the other architectures, and what to use.
        weights_prefix: The prefix of the weights' names in the file of a larger model of the same ``model_type``, which
            not every release of transformers removes.
    """

    title: str
    model_class: str
    layer: Callable[[Any], str]
    checkpoint: ContrastiveCheckpoint
    composer: Any = None
    fixed_length: bool = False
    text_class_token: bool = False
    extra_positions: int = 0
    architectures: tuple[str, ...] = ()
    instead: str = ""
    weights_prefix: str = ""


_BOXES = "which finds boxes and has no score of a whole image and text"
_UNSUPPORTED = {
    "_vision_model": "a vision tower without its text tower",
    "_text_model": "a text tower without its vision tower",
    "owlvit": _BOXES,
    "owlv2": _BOXES,
    "grounding-dino": _BOXES,
    "xclip": "which looks at videos",
}
"""What else people try, by the end of the ``model_type``."""


@cache
def contrastive_families() -> dict[str, ContrastiveFamily]:
    """Collect the families by the ``model_type`` in a ``config.json``."""
    return read_families("mmgrad_explain.composers.huggingface.families")


def contrastive_family_of(config: Mapping[str, Any], name: str) -> ContrastiveFamily:
    """Find the family of a model.

    Args:
        config: Its ``config.json``.
        name: What the model is called, for messages.

    Raises:
        InputError: If models of this type or architecture are not supported.
    """
    kind = config.get("model_type")
    hint = next((f", {what}" for ending, what in _UNSUPPORTED.items() if str(kind).endswith(ending)), "")
    family = find_family(contrastive_families(), config, name, hint)
    architectures = [str(architecture) for architecture in config.get("architectures") or ()]
    if family.architectures and architectures and not set(architectures) & set(family.architectures):
        raise InputError(f"{name} is a {kind!r} model of class {', '.join(architectures)}, {family.instead}")
    return family
