"""The small interface every composer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from torch import Tensor, nn

from mmgrad_explain._system.reading import is_text, shown
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from mmgrad_explain.composers.familiarity import Familiarity
    from mmgrad_explain.composers.generative.answer_parts import PartsAsked
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note

_LARGEST_SIDE = 16_384  # pixels


@dataclass(frozen=True)
class ComposerInputs:
    """What a composer's ``forward`` takes, and how to find the way back to the pictures.

    Attributes:
        tensors: Keyword arguments for the composer's ``forward``.
        placements: Where each reference lies in the model's input.
        target_placements: Likewise for the targets; None without targets.
        notices: What the user should know of a picture or text of the batch, for example that a text was cut.
        answers: What was asked about, where the model answers in words.
        parts: The parts of the answers, where there are several to ask about.
    """

    tensors: dict[str, Tensor]
    placements: list[Placement]
    target_placements: list[Placement] | None = None
    notices: list[Note] = field(default_factory=list)
    answers: list[str] | None = None
    parts: PartsAsked | None = None


def check_picture_side(side: object) -> None:
    """Refuse what can be no side of a model's input, in pixels.

    Raises:
        InputError: It is none.
    """
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= _LARGEST_SIDE:
        raise InputError(f"image_size must be a whole number from 1 to {_LARGEST_SIDE}, not {shown(side)}")


class Encoder(Protocol):
    """What makes tensors of pictures and of texts."""

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """RGB pictures to ``(B, 3, S, S)`` float32 and their placements."""

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Texts to ids and mask ``(B, L)`` int64; what was cut or unknown is added to ``notices``."""


def prepare_batch(
    encoder: Encoder,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    targets: Sequence[Image.Image] | None = None,
) -> ComposerInputs:
    """Pictures, texts and, where there are any, targets to a composer's tensors.

    Raises:
        InputError: If the numbers of pictures, texts and targets differ.
    """
    if len(images) != len(texts) or (targets is not None and len(targets) != len(images)):
        counts = f"{len(images)} images, {len(texts)} texts" + (f", {len(targets)} targets" if targets else "")
        raise InputError(f"a batch needs one text (and one target, if any) for each image, got {counts}")
    if not all(map(is_text, texts)):
        raise InputError("text has halves of characters (lone surrogates), which no model reads: decode it anew")
    notices: list[Note] = []
    pixel_values, placements = encoder.encode_images(images)
    input_ids, attention_mask = encoder.encode_texts(texts, notices)
    tensors = {"pixel_values": pixel_values, "input_ids": input_ids, "attention_mask": attention_mask}
    target_placements = None
    if targets is not None:
        tensors["target_pixel_values"], target_placements = encoder.encode_images(targets)
    return ComposerInputs(tensors, placements, target_placements, notices)


class Composer(nn.Module, ABC):
    """A vision-language model that takes pictures and texts as people have them.

    ``forward(**inputs.tensors)`` gives an output with ``embedding`` (B, D): the picture composed with the text. With
    ``shift``, ``target``, ``target_shift`` and ``target_composed`` where it can
    (:class:`~mmgrad_explain.composers.reference.network.ComposedOutput`) more scores can be used.

    Attributes:
        name: What the model is called.
        target_layer: Dotted name of the layer that is explained by default.
        pooling_layer: Dotted name of a module that gives the logits of the attention pooling that the shift is read
            through, ``(B, heads, tokens)`` over a square grid; None where there is none. Training can supervise it.
        context_layer: Likewise of the attention to what else a text speaks of.
        described_layers: Dotted names of layers of several depths, whose features tell training pictures from others;
            the first one takes the pixels.
        familiarity: What the training pictures look like to the model, where its folder says so.
        caution: What every explanation of this model is to say in its notes; None where there is no such thing.
        default_score: Name of the score used by default.
    """

    name: str = "composer"
    target_layer: str | None = None
    pooling_layer: str | None = None
    context_layer: str | None = None
    described_layers: tuple[str, ...] = ()
    familiarity: Familiarity | None = None
    caution: str | None = None
    default_score: ClassVar[str | None] = None

    @abstractmethod
    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Pictures and texts, one text a picture, to tensors.

        Args:
            images: Reference pictures, RGB.
            texts: Modifier texts, one a picture, not empty.
            targets: Target pictures, one a reference.
        """


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have every module in evaluation mode inside the block; the flags are set one by one, and put back."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def layer_inside(model: nn.Module, layer: str) -> str | None:
    """The name that a layer has in a model whose parts may be compiled, or adapted by PEFT; None if it has none.

    Args:
        model: The model.
        layer: Dotted name, as it is without such wrappers.
    """
    plain = {name.replace("_orig_mod.", "").replace("base_model.model.", ""): name for name, _ in model.named_modules()}
    return plain.get(layer)
