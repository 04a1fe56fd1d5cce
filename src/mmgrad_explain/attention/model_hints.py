"""What a model may tell MMGrad about itself, by attributes that are all optional. This module alone asks for them.

========================================  ==============================================================================
``target_layer``                          Dotted name of the layer that is explained by default.
``default_score``                         Name of the score that is used by default, or a callable of the output.
``default_method``                        Name of the method that is used by default, or a method.
``calibration``                           A :class:`Calibrated`: layers and method that were measured to agree best.
``layout_for(layer, *args, **kwargs)``    How a layer's output lies on the images of this call, or None.
``answer_layers()``                       The language model of a model that answers in words: :class:`AnswerLayers`.
``answer_positions(output, *args, ...)``  Where an answer and its question lie in this call: :class:`AnswerPositions`.
:class:`StagedModel`                      Images and texts can be encoded by themselves.
``processor``, a :class:`Reader`          Images and strings can be passed instead of tensors.
========================================  ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image
    from torch import Tensor, nn

    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note


@runtime_checkable
class Calibrated(Protocol):
    """What a calibration found out about a model."""

    @property
    def layers(self) -> list[str] | None:
        """Dotted names of the target layers; None where the method finds its own place."""

    @property
    def method(self) -> Any:
        """The method."""

    @property
    def score(self) -> str:
        """Name of the score that it was measured for."""


class StagedModel(Protocol):
    """A model that can be taken apart: an image is encoded once, and composed with any number of texts."""

    def encode_image(self, pixel_values: Tensor) -> Any:
        """Encode pixels ``(B, 3, H, W)`` into features: all that :meth:`compose` needs of an image, batch first."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Encode ids and mask ``(B, L)`` into tensors, batch first."""

    def compose(self, features: Any, text: Any) -> Any:
        """Combine B features and B encoded texts into the model's output, without a target."""


class Reader(Protocol):
    """Turns images and texts into tensors, each by themselves."""

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Turn RGB images into ``(B, 3, H, W)`` float32, and return where each lies in its tensor."""

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Turn texts into ids and mask ``(B, L)`` int64; add what was cut or unknown to ``notices``."""


@dataclass(frozen=True)
class AnswerLayers:
    """The language model of a model that answers in words: image, question and answer are one sequence in it.

    Attributes:
        hidden: Dotted name of the module whose output (B, L, D) the output embedding reads.
        blocks: Dotted names of its blocks, each with one self-attention over the sequence, in their order.
    """

    hidden: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AnswerPositions:
    """Where B answers and their questions lie in the sequences that a language model reads, of L positions each.

    The places of the image in a sequence follow from the model's ``layout_for`` of the layer
    :attr:`AnswerLayers.hidden`.

    Attributes:
        ids: The tokens, (B, L) int64.
        question: Which of them are the question's, (B, L) bool.
        answer: Which of them are the answer's, (B, L) bool; a model predicts each at the position before.
        counted: Which of the answer's tokens the score counts, (B, L) bool.
        predicted: The model's logits of the answer's tokens, each at its own position, (B, L); 0 elsewhere.
        token_logits: Function of outputs of that layer, (N, D), and ids of tokens, (K,), that gives the model's logits
            of these tokens alone, (N, K).
        neutral_inputs: Function without arguments that gives the model's keyword arguments for the same images with a
            neutral question and no answer: the last position is the one that predicts an answer's first token.
    """

    ids: Tensor
    question: Tensor
    answer: Tensor
    counted: Tensor
    predicted: Tensor
    token_logits: Callable[[Tensor, Tensor], Tensor]
    neutral_inputs: Callable[[], dict[str, Any]]


def ask_target_layer(model: nn.Module) -> str | None:
    """Return the model's own target layer, or None."""
    own = getattr(model, "target_layer", None)
    return own if isinstance(own, str) else None


def ask_default_score(model: nn.Module) -> str | Callable[[Any], Any] | None:
    """Return the model's own default score, or None."""
    own = getattr(model, "default_score", None)
    return own if isinstance(own, str) or callable(own) else None


def ask_default_method(model: nn.Module) -> Any:
    """Return the model's own default method, a name or a method, or None."""
    return getattr(model, "default_method", None)


def ask_calibration(model: nn.Module) -> Calibrated | None:
    """Return the model's own calibration, or None: other things of a model may have this name."""
    own = getattr(model, "calibration", None)
    return own if isinstance(own, Calibrated) else None


def ask_layout_for(model: nn.Module) -> Callable[..., Any] | None:
    """Return the model's own ``layout_for``, or None."""
    return getattr(model, "layout_for", None)


def ask_answer_layers(model: nn.Module) -> AnswerLayers | None:
    """Return the model's own ``answer_layers()``, or None."""
    own = getattr(model, "answer_layers", None)
    return own() if callable(own) else None


def ask_answer_positions(model: nn.Module) -> Callable[..., AnswerPositions] | None:
    """Return the model's own ``answer_positions``, or None."""
    own = getattr(model, "answer_positions", None)
    return own if callable(own) else None


def ask_text_stages(model: nn.Module) -> StagedModel | None:
    """Return the model where it can be taken apart, else None."""
    return cast("StagedModel", model) if _has(model, "encode_image", "encode_text", "compose") else None


def ask_processor(model: nn.Module) -> Reader | None:
    """Return the model's processor where it reads images and texts by themselves, else None."""
    processor = getattr(model, "processor", None)
    return processor if _has(processor, "encode_images", "encode_texts") else None


def ask_encode_text(model: nn.Module) -> Callable[..., Any] | None:
    """Return the model's own ``encode_text``, or None."""
    own = getattr(model, "encode_text", None)
    return own if callable(own) else None


def _has(thing: object, *methods: str) -> bool:
    return all(callable(getattr(thing, method, None)) for method in methods)
