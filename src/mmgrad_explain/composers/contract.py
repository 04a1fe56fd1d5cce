"""What a model can offer, as Protocols: to be explained, taken apart in stages, trained, or asked for answers.

:class:`~mmgrad_explain.composers.base.Composer` is the base class that has the helpers;
:func:`~mmgrad_explain.composers.model_capabilities.capabilities` finds out which of these a model offers.
Each docstring says what a model must write itself, what is optional, and which helper gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mmgrad_explain.attention.model_hints import Reader, StagedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs
    from mmgrad_explain.composers.generative.answer_parts import Parts
    from mmgrad_explain.composers.outputs import ComposedOutput

__all__ = [
    "AnsweringModel", "ComposingModel", "Processor", "Reader", "StagedModel", "TrainableModel", "TrainingProcessor",
    "TrainingStages",
]  # fmt: skip

Text = tuple["Tensor", ...]
"""Encoded texts: tensors, batch first."""


class Processor(Reader, Protocol):
    """Turns images and texts into tensors. :class:`~mmgrad_explain.composers.processor.SquareProcessor` is one.

    Must be written: ``encode_images`` and ``encode_texts``; ``__call__`` is
    :func:`~mmgrad_explain.composers.base.prepare_batch` of them.

    Optional:
        tokenizer: Of tokenizers or transformers, or with ``encode`` and ``decode``. ``words=True`` needs it.
        unknown_words: ``(texts) -> list[str]``: the words that the model does not know. Without it every word counts
            as known.
        keeps_shapes: Whether images of different shapes come to the model in different sizes; these are prepared
            one by one. Default: False where there is an ``image_size``, else True.
        prompts: Of a model that answers in words: ``(images, texts)`` to its prompts.

    Its public attributes that are plain values are its settings: they are part of a model's fingerprint, by which a
    gallery knows its model again.
    """

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Turn images, texts and targets, one each a sample, into the tensors of the model's ``forward``."""


class TrainingProcessor(Protocol):
    """A processor that training can use: it takes images of the model's own size as arrays.

    Must be written: all of it. :class:`~mmgrad_explain.composers.square_images.SquareImages` adds ``image_size`` and
    ``normalise`` to a processor with ``encode_images``.
    """

    @property
    def image_size(self) -> int:
        """Side of the square that all images are brought to, pixels."""

    def normalise(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Turn ``(B, H, W, 3)`` uint8 of the model's own size into ``(B, 3, H, W)`` float32."""

    def encode_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Turn texts into ids and mask ``(B, L)`` int64."""


class ComposingModel(Protocol):
    """A model that composes an image with a text. :class:`~mmgrad_explain.composers.base.Composer` is the base class.

    Must be written: ``processor``, and ``forward`` (or the stages of :class:`StagedModel`, which make the base class's
    ``forward``).

    Optional, with defaults in the base class: ``preprocess`` (the processor's), ``name``, ``target_layer`` (found at
    every call), ``default_score``, ``default_weighting``, ``backbone``, ``pooling_layer``, ``context_layer``,
    ``described_layers``, ``familiarity``, ``caution``. Optional, without a default: ``layout_for`` (see
    :mod:`~mmgrad_explain.attention.model_hints`).
    """

    name: str
    target_layer: str | None
    processor: Any

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Turn images, texts and targets, one each a sample, into the tensors of ``forward``."""

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> Any:
        """Compose B images with B texts.

        Returns:
            An output with ``embedding`` ``(B, D)``, and with as much of
            :class:`~mmgrad_explain.composers.outputs.ComposedOutput` as the scores in use read. A gallery needs
            ``target``.
        """


class TrainableModel(ComposingModel, Protocol):
    """A model that can be trained.

    Must be written: ``target_layer``, and a ``processor`` that is a :class:`TrainingProcessor` too. The output must
    have ``embedding``, ``target`` and ``shift``; ``target_shift`` as well where maps of targets are trained.

    Optional:
        save_pretrained: ``(folder)`` writes the model. Without it training writes the weights alone
            (:func:`~mmgrad_explain.composers.files.save_weights`).
        logit_scale: A parameter of this name, anywhere in the model: log of the inverse temperature. Without it
            training has one of its own.
        gradient_checkpointing_enable: ``()`` has activations computed again in the backward pass.
        backbone: Dotted names of the parts that were trained before: they take a learning rate of their own, and
            adapters. Default: none.

    A model that is :class:`TrainingStages` too is trained faster.
    """


class TrainingStages(StagedModel, Protocol):
    """A model taken apart for training: each image is encoded once however many texts it has.

    The second derivative is taken from the explained layer on, which must run in :meth:`compose`.

    Must be written: all of it. Without it a model is trained by its ``forward``.

    Attributes:
        feature_width: Channels of the feature grid.
        embed_dim: Length of the embeddings.
    """

    feature_width: int
    embed_dim: int

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode pixels ``(B, 3, H, W)`` into features, batch first."""

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Text:
        """Encode ids and mask ``(B, L)``."""

    def compose(self, features: Tensor, text: Text) -> ComposedOutput:
        """Put features and encoded texts together; runs the explained layer."""

    def embed(self, features: Tensor) -> Tensor:
        """Embed images alone, ``(B, D)``, as a gallery holds them."""

    def shift(self, features: Tensor, text: Text) -> Tensor:
        """Return what the texts change in the embeddings, ``(B, D)``."""

    def feature_grid(self, features: Tensor) -> Tensor:
        """Return the features as a grid over the image, ``(B, feature_width, h, w)``."""


class AnsweringModel(Protocol):
    """A model that answers in words: its answer's likelihood is explained.

    Must be written: ``answers_in_words = True`` and this ``preprocess``.
    :class:`~mmgrad_explain.composers.generative.composer.GenerativeComposer` is one.
    """

    def preprocess(
        self,
        images: Sequence[Image.Image],
        texts: Sequence[str],
        targets: Sequence[Image.Image] | None = None,
        *,
        answers: Sequence[str] | None = None,
        answer_part: Parts = None,
    ) -> ComposerInputs:
        """Turn images, questions and answers into tensors; without answers, those that the model gives by itself."""
