"""What a composer must offer to be trained, and what makes its training fast.

**Enough:** ``forward(pixel_values, input_ids, attention_mask, target_pixel_values)`` gives an output with
``embedding``, ``target`` and ``shift``, each ``(B, D)``; ``processor`` has ``image_size``, ``normalise`` and
``encode_texts`` (:class:`~mmgrad_explain.training.batches.Encoder`); ``target_layer`` names the layer of the maps;
``save_pretrained(folder)`` writes it.

**Fast:** with the methods of :class:`Stages`, each picture goes through the encoder once however many texts it has, and
the second derivative is taken only from the explained layer on.

A parameter ``logit_scale`` (log of the inverse temperature) is used where there is one, and ``backbone``, a tuple of
dotted names, says which parts were trained before and may have a learning rate of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor, nn

from mmgrad_explain.composers.reference_composer import ReferenceComposer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.network import ComposedOutput

Text = tuple[Tensor, ...]
"""Encoded texts: tensors whose first dimension is the batch."""


@runtime_checkable
class Stages(Protocol):
    """A composer taken apart: pictures and texts are encoded by themselves and put together afterwards.

    Attributes:
        feature_width: Channels of the feature grid.
        embed_dim: Length of the embeddings.
    """

    feature_width: int
    embed_dim: int

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pixels ``(B, 3, H, W)`` to features, all that :meth:`compose` needs of a picture; batch first."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Text:
        """Ids and mask ``(B, L)`` to encoded texts."""

    def compose(self, features: Tensor, text: Text) -> ComposedOutput:
        """Features and encoded texts to an output without a target; runs the explained layer."""

    def embed(self, features: Tensor) -> Tensor:
        """The picture's own embedding, ``(B, D)``."""

    def shift(self, features: Tensor, text: Text) -> Tensor:
        """What the text changes in it, ``(B, D)``."""

    def feature_grid(self, features: Tensor) -> Tensor:
        """Features as a grid over the picture, ``(B, feature_width, h, w)``."""


def stages_of(composer: Composer) -> Stages | None:
    """The composer taken apart, or None where it can only be run as a whole."""
    return composer if isinstance(composer, Stages) else None


def logit_scale_of(composer: nn.Module) -> nn.Parameter | None:
    """The composer's own temperature: its parameter that is called ``logit_scale``, if there is one."""
    for name, parameter in composer.named_parameters():
        if name.rpartition(".")[2] == "logit_scale" and parameter.numel() == 1:
            return parameter
    return None


def look_layer_of(composer: Composer, kind: str) -> str:
    """The name of the layer that gives the logits of one of the composer's attention poolings.

    Args:
        composer: The model.
        kind: ``"pooling"`` or ``"context"``.

    Raises:
        InputError: If the composer names none.
    """
    name = getattr(composer, f"{kind}_layer", None)
    if not isinstance(name, str):
        raise InputError(f"grounding.{kind}: {type(composer).__name__} names no {kind}_layer; set it to 0")
    return name


def check_trainable(composer: Composer) -> None:
    """Find out whether a composer offers what training needs.

    Raises:
        InputError: If not; it says what is missing.
    """
    processor = getattr(composer, "processor", None)
    needs = {
        "processor.image_size": hasattr(processor, "image_size"),
        "processor.normalise": hasattr(processor, "normalise"),
        "processor.encode_texts": hasattr(processor, "encode_texts"),
        "target_layer": isinstance(composer.target_layer, str),
        "save_pretrained": isinstance(composer, ReferenceComposer) or hasattr(composer, "save_pretrained"),
    }
    missing = [name for name, there in needs.items() if not there]
    if missing:
        raise InputError(f"{type(composer).__name__} cannot be trained: it has no {', '.join(missing)}")
