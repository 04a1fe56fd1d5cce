"""The base class of composers, what it hands to ``forward``, and helpers for processors."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from mmgrad_explain._system.user_files import is_text, quote
from mmgrad_explain.attention.model_hints import ask_text_stages
from mmgrad_explain.composers.outputs import HOW_TO
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.attention.calibration.result import Calibration
    from mmgrad_explain.attention.model_hints import Reader
    from mmgrad_explain.composers.familiarity import Familiarity
    from mmgrad_explain.composers.generative.answer_parts import AnswerParts
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note

_LARGEST_SIDE = 16_384  # pixels


@dataclass(frozen=True)
class ComposerInputs:
    """The input of a composer's ``forward``, and where each image lies in it.

    Attributes:
        tensors: Keyword arguments for the composer's ``forward``.
        placements: Where each reference image lies in the model's input.
        target_placements: Likewise for the target images; None without targets.
        notices: Notes on images or texts of the batch, for example that a text was cut.
        answers: The answers that are explained, of a model that answers in words.
        parts: The parts of the answers that are explained, where there are several.
    """

    tensors: dict[str, Tensor]
    placements: list[Placement]
    target_placements: list[Placement] | None = None
    notices: list[Note] = field(default_factory=list)
    answers: list[str] | None = None
    parts: AnswerParts | None = None


def check_image_side(side: object) -> None:
    """Check the side of a model's input, in pixels.

    Raises:
        InputError: It is no whole number, or too small or too large.
    """
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= _LARGEST_SIDE:
        raise InputError(f"image_size must be a whole number from 1 to {_LARGEST_SIDE}, not {quote(side)}")


def prepare_batch(
    encoder: Reader,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    targets: Sequence[Image.Image] | None = None,
) -> ComposerInputs:
    """Turn images, texts and targets (if any) into the tensors of a composer's ``forward``.

    Raises:
        InputError: The numbers of images, texts and targets differ, or a text is not valid Unicode.
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
    """A vision-language model that takes images and texts in any form; the base class of all composers.

    A subclass sets ``processor`` and writes either ``forward`` or the stages ``encode_image``, ``encode_text``,
    ``compose`` and ``embed``, of which ``forward`` is made. :mod:`~mmgrad_explain.composers.contract` says what more a
    model can offer and what for. All attributes below have defaults.

    Attributes:
        processor: Turns images and texts into tensors (:class:`~mmgrad_explain.composers.contract.Processor`).
        name: What the model is called.
        target_layer: Dotted name of the layer that is explained by default; None has it found at every call.
        pooling_layer: Dotted name of a module that outputs the logits of the attention by which the shift is pooled,
            ``(B, heads, tokens)`` over a square grid; None if the model has none. Training can supervise it.
        context_layer: Likewise, of the attention to the other objects that a text names.
        presence_layer: Dotted name of a module that outputs how surely each image shows what its text names,
            ``(B, 1)`` from 0 to 1, and NaN for a text that names nothing; None if the model has none.
        described_layers: Dotted names of layers of several depths. Their features tell training images from others
            (:mod:`~mmgrad_explain.composers.familiarity`); the first layer takes the pixels.
        familiarity: Statistics of the training images, read from the model's folder; None if it has none.
        caution: Text of a note that every explanation of this model gets; None for no note.
        backbone: Dotted names of the pretrained parts: training may give them a learning rate of their own, and
            adapters.
        default_score: Name of the score that is used by default; None chooses one by the output, and refuses an
            output that fits several.
        default_method: Name of the method of its maps by default: the one that they were trained with. None takes that
            for models of its kind.
        calibration: A :class:`~mmgrad_explain.attention.calibration.result.Calibration` of this model: maps for which
            no layer and no method is named are made as it says. Read from the model's folder; None if it has none.
        answers_in_words: Whether the model is an :class:`~mmgrad_explain.composers.contract.AnsweringModel`.
        shift_depends_on_image: Whether the shift differs from image to image. If not, the score ``"shift"`` has no map.
        composes_embeddings: Whether the stages take what ``embed`` returned in the place of features, with the same
            results. Then a training on a frozen encoder needs no more than an embedding of an image.
    """

    processor: Any
    name: str = "composer"
    target_layer: str | None = None
    pooling_layer: str | None = None
    context_layer: str | None = None
    presence_layer: str | None = None
    described_layers: tuple[str, ...] = ()
    familiarity: Familiarity | None = None
    caution: str | None = None
    backbone: tuple[str, ...] = ()
    default_score: ClassVar[str | None] = None
    default_method: str | None = None
    calibration: Calibration | None = None
    answers_in_words: ClassVar[bool] = False
    shift_depends_on_image: ClassVar[bool] = True
    composes_embeddings: ClassVar[bool] = False

    def names_things(self, texts: Sequence[str]) -> list[bool]:
        """Return, for each text, whether it names a thing that the model knows; True if the model cannot tell."""
        return [True] * len(texts)

    def resized(self, image_size: int) -> Composer:
        """Copy the model for images of another size.

        Args:
            image_size: Side of the square input, pixels.

        Raises:
            InputError: The model takes images of one size only.
        """
        raise InputError(f"image_size is for reference models, and {self.name} is none: leave {image_size} out")

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Turn images and texts into tensors, by ``processor``.

        Args:
            images: Reference images, RGB.
            texts: Modifier texts, one for each image, not empty.
            targets: Target images, one for each reference image.

        Raises:
            InputError: The model has no processor, or its processor cannot use the images or texts, or gives
                something else than :class:`ComposerInputs`.
        """
        processor = getattr(self, "processor", None)
        if not callable(processor):
            raise InputError(
                f"{type(self).__name__} has no processor, which turns images and texts into tensors: set "
                f"self.processor in __init__ (SquareProcessor makes one of a tokenizer), or write preprocess; {HOW_TO}"
            )
        inputs = processor(images, texts, targets)
        if not isinstance(inputs, ComposerInputs):
            raise InputError(
                f"the processor of {type(self).__name__} must give ComposerInputs (prepare_batch makes them), not a "
                f"{type(inputs).__name__}; {HOW_TO}"
            )
        return inputs

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> Any:
        """Compose images with texts, by the model's stages.

        Args:
            pixel_values: Reference images, ``(B, 3, H, W)``.
            input_ids: Tokens, ``(B, L)``.
            attention_mask: 1 for tokens, 0 for padding, ``(B, L)``.
            target_pixel_values: Target images, like ``pixel_values``.

        Returns:
            The :class:`~mmgrad_explain.composers.outputs.ComposedOutput` of ``compose``; with targets it also has
            ``target``, ``target_shift`` and ``target_composed``.

        Raises:
            InputError: The model has no stages, or cannot embed a target alone.
        """
        model: Any = ask_text_stages(self)
        if model is None:
            stages = ("encode_image", "encode_text", "compose")
            missing = ", ".join(name for name in stages if not callable(getattr(self, name, None)))
            raise InputError(
                f"{type(self).__name__} has neither forward nor all the stages that make one ({', '.join(stages)}): "
                f"write forward, or {missing}; {HOW_TO}"
            )
        text = model.encode_text(input_ids, attention_mask)
        composed = model.compose(model.encode_image(pixel_values), text)
        if not isinstance(composed, tuple) or not hasattr(composed, "_replace"):
            raise InputError(
                f"{type(self).__name__}.compose must give a ComposedOutput (mmgrad_explain.composers), not a "
                f"{type(composed).__name__}; {HOW_TO}"
            )
        if target_pixel_values is None:
            return composed
        if not callable(getattr(self, "embed", None)):
            raise InputError(
                f"{type(self).__name__} has no embed, which gives the embedding (B, D) of images alone from what "
                f"encode_image gave: targets and galleries need it; {HOW_TO}"
            )
        features = model.encode_image(target_pixel_values)
        other = model.compose(features, text)
        return composed._replace(
            target=model.embed(features), target_shift=other.shift, target_composed=other.embedding
        )


def layer_inside(model: nn.Module, layer: str) -> str | None:
    """Return the name of a layer in a model with compiled or PEFT-adapted parts; None if there is no such layer.

    Args:
        model: The model.
        layer: Dotted name in the model without such wrappers.
    """
    plain = {name.replace("_orig_mod.", "").replace("base_model.model.", ""): name for name, _ in model.named_modules()}
    return plain.get(layer)
