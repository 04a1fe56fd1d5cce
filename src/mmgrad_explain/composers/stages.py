"""What a composer must offer to be trained, and what makes its training fast.

**Enough:** ``forward(pixel_values, input_ids, attention_mask, target_pixel_values)`` gives an output with
``embedding``, ``target`` and ``shift``, each ``(B, D)``; ``processor`` has ``image_size``, ``normalise`` and
``encode_texts`` (:class:`~mmgrad_explain.data.batches.batch.Encoder`); ``target_layer`` names the layer of the maps;
``save_pretrained(folder)`` writes it.

**Fast:** with the methods of :class:`Stages`, each picture goes through the encoder once however many texts it has, and
the second derivative is taken only from the explained layer on.

A parameter ``logit_scale`` (log of the inverse temperature) is used where there is one, and ``backbone``, a tuple of
dotted names, says which parts were trained before and may have a learning rate of their own.

A model with two towers alone has nothing but the sum of picture and text to be trained: ``f = i + t``.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmgrad_explain.composers.dual_encoder import DualEncoder
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.reference.network import ComposedOutput

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
        "processor.image_size (one square for all pictures)": hasattr(processor, "image_size"),
        "processor.normalise": hasattr(processor, "normalise"),
        "processor.encode_texts": hasattr(processor, "encode_texts"),
        "target_layer": isinstance(composer.target_layer, str),
        "save_pretrained": isinstance(composer, ReferenceComposer) or hasattr(composer, "save_pretrained"),
    }
    missing = [name for name, there in needs.items() if not there]
    if missing:
        raise InputError(f"{type(composer).__name__} cannot be trained: it has no {', '.join(missing)}")


def has_maps_of(composer: Composer, score: str) -> bool:
    """Whether a score depends on the picture: what the text adds to two towers does not."""
    return not (isinstance(composer, DualEncoder) and score == "shift")


def check_score(composer: Composer, score: str) -> None:
    """Find out whether a composer can have maps of a score.

    Raises:
        InputError: If it is the shift, and the same whatever the picture is.
    """
    if not has_maps_of(composer, score):
        raise InputError(
            f"grounding.score: what the text adds in {composer.name} is the same for every picture, so that 'shift' "
            f"has no maps: set it to {composer.default_score!r}, or put a method on the two towers (FusionComposer)"
        )


def recompute_activations(composer: Composer) -> bool:
    """Have a composer compute its encoder's activations anew in the backward pass instead of keeping them.

    Its own ``gradient_checkpointing_enable`` is asked, or else, where it cannot be taken apart, that of the model of
    transformers that holds the explained layer.

    Returns:
        Whether that is done; if not, the composer can be taken apart and its encoder be run so from outside.

    Raises:
        InputError: If neither is possible, or the encoder is frozen.
    """
    own: Any = composer
    if hasattr(own, "gradient_checkpointing_enable"):
        own.gradient_checkpointing_enable()
        return True
    if stages_of(composer) is not None:
        return False
    path = str(composer.target_layer).split(".")
    for depth in range(1, len(path)):
        model: Any = composer.get_submodule(".".join(path[:depth]))
        if getattr(model, "supports_gradient_checkpointing", False):
            encoder = ".".join(path[: depth + 1])
            if not any(parameter.requires_grad for parameter in composer.get_submodule(encoder).parameters()):
                raise InputError(f"model.gradient_checkpointing: {encoder} is frozen and keeps little: set it to false")
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False, "context_fn": _both_times_alike})
            with suppress(AttributeError):  # where there are none; only reentrant checkpointing needs them
                model.disable_input_require_grads()
            return True
    raise InputError(
        f"model.gradient_checkpointing: {type(composer).__name__} has no gradient_checkpointing_enable, and its "
        "explained layer is in no model of transformers that has one: set it to false"
    )


class _SameAttention:
    """Attention by the kernel that has a second derivative, in a forward and each time that it is repeated."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> None:
        self._stack.enter_context(sdpa_kernel(SDPBackend.MATH))

    def __exit__(self, *_error: object) -> None:
        self._stack.close()


def _both_times_alike() -> tuple[_SameAttention, _SameAttention]:
    return _SameAttention(), _SameAttention()
