"""What a model can offer, as Protocols: to be explained, taken apart in stages, trained, or asked for answers.

:class:`~mmgrad_explain.composers.base.Composer` is the base class that has the helpers;
:func:`~mmgrad_explain.composers.model_capabilities.capabilities` finds out which of these a model offers.
Each docstring says which methods you must write, which are optional, and which helper provides them. Tensors are passed
by the names of the arguments here.
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
        keeps_shapes: Whether images of different shapes keep different sizes; these are prepared one by one. Default:
            False if the processor has an ``image_size``, else True.
        make_prompts: ``(images, texts)`` to the prompts of a model that answers in words.

    Public attributes with plain values are the processor's settings. They are part of the model's fingerprint, by which
    a gallery recognises its model.
    """

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Turn images, texts and targets, one of each for each sample, into the tensors of the model's ``forward``."""


class TrainingProcessor(Protocol):
    """A processor that training can use: it also takes images as arrays, already of the model's size.

    Must be written: all of it. :class:`~mmgrad_explain.composers.square_images.SquareImages` adds ``image_size`` and
    ``normalise`` to a processor with ``encode_images``.

    Optional:
        fit_image: From an RGB image to an array ``(S, S, 3)`` uint8 and its placement, as ``encode_images`` fits it.
            Default: images are letterboxed.
    """

    @property
    def image_size(self) -> int:
        """Side of the square that every image becomes, pixels."""

    def normalise(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Normalise images of ``image_size``: ``(B, S, S, 3)`` uint8 to ``(B, 3, S, S)`` float32."""

    def encode_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Turn texts into ids and mask ``(B, L)`` int64."""


class ComposingModel(Protocol):
    """A model that composes an image with a text. :class:`~mmgrad_explain.composers.base.Composer` is the base class.

    Must be written: ``processor``, and ``forward`` (or the stages of :class:`StagedModel`, which make the base class's
    ``forward``).

    Optional, with defaults in the base class: ``preprocess`` (the processor's), ``name``, ``target_layer`` (found at
    every call), ``default_score``, ``default_method``, ``backbone``, ``pooling_layer``, ``context_layer``,
    ``described_layers``, ``familiarity``, ``caution``. Optional, without a default: ``layout_for`` (see
    :mod:`~mmgrad_explain.attention.model_hints`).
    """

    name: str
    target_layer: str | None
    processor: Any

    def preprocess(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Turn images, texts and targets, one of each for each sample, into the tensors of ``forward``."""

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, target_pixel_values: Tensor | None = None
    ) -> Any:
        """Compose B images with B texts.

        Returns:
            An output with ``embedding`` ``(B, D)``, and with those attributes of
            :class:`~mmgrad_explain.composers.outputs.ComposedOutput` that the scores in use read. A gallery needs
            ``target``.
        """


class TrainableModel(ComposingModel, Protocol):
    """A model that can be trained.

    Must be written: ``target_layer``, and a ``processor`` that is a :class:`TrainingProcessor` too. The output must
    have ``embedding``, ``target`` and ``shift``; also ``target_shift`` if maps of targets are trained.

    Optional:
        save_pretrained: ``(folder)`` writes the model. Without it training writes the weights alone
            (:func:`~mmgrad_explain.composers.files.save_weights`).
        logit_scale: A parameter of this name, anywhere in the model: the log of the inverse temperature. Without it
            training adds one.
        gradient_checkpointing_enable: ``()`` makes the backward pass compute activations again instead of keeping them.
        embed_dim: Length of the embeddings; ``retrieval.memory`` needs it.
        gallery_vectors: How many vectors an image is in a gallery, where it is several: ``target`` is then
            ``(B, Q, D)``. Default: 1.
        learned_prompt: ``(output, input_ids, attention_mask)``, what ``forward`` gave and its texts, to a
            :class:`~mmgrad_explain.composers.outputs.LearnedPrompt`, for ``retrieval.prompt`` and ``retrieval.align``.
        backbone: Dotted names of the pretrained parts: they get a learning rate of their own, and adapters. Default:
            none.

    A model that also has :class:`TrainingStages` is trained faster.
    """


class LabelClassifier(Protocol):
    """Tells the classes of the cells of a feature grid; ``torch.nn.Conv2d`` is one.

    Attributes:
        out_channels: Number of classes.
    """

    out_channels: int

    def __call__(self, grid: Tensor, /) -> Tensor:
        """Compute logits, ``(B, C, h, w) -> (B, out_channels, h, w)``."""
        ...


class TrainingStages(StagedModel, Protocol):
    """A model in stages for training: each image is encoded once, however many texts it has.

    The explained layer must run in :meth:`compose`: the second derivative is taken from there on.

    Must be written: all of it. A model without these stages is trained by its ``forward``.

    Optional:
        label_heads: A :class:`LabelClassifier` of the cells of the feature grid, by name of the label map. Training
            with these label maps trains them; for others it adds heads that it throws away.
        composes_embeddings: Whether ``embed``, ``compose`` and ``shift`` take what ``embed`` returned in the place of
            features, with the same results. A training on a frozen encoder then keeps no more of an image than its
            embedding and its maps. Default: False.

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
        """Compose features with encoded texts; runs the explained layer."""

    def embed(self, features: Tensor) -> Tensor:
        """Embed images alone, ``(B, D)``, as a gallery holds them."""

    def shift(self, features: Tensor, text: Text) -> Tensor:
        """Compute what the texts change in the embeddings, ``(B, D)``."""

    def feature_grid(self, features: Tensor) -> Tensor:
        """Return the features as a grid over the image, ``(B, feature_width, h, w)``."""


class AnsweringModel(Protocol):
    """A model that answers in words. The score that is explained is the likelihood of the answer.

    Must be written: ``answers_in_words = True`` and this ``preprocess``.

    The methods ``token-activation`` and ``relative-attention`` need the optional ones.

    Optional:
        answer_layers: ``()`` to the :class:`~mmgrad_explain.attention.model_hints.AnswerLayers`: the language model.
        answer_positions: ``(output, **tensors)``, what ``forward`` gave and its arguments, to the
            :class:`~mmgrad_explain.attention.model_hints.AnswerPositions`: where question and answer lie.

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
        """Turn images, questions and answers into tensors; without ``answers`` the model gives its own."""
