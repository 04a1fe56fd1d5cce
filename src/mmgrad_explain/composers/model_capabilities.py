"""Find out what a model offers: the one place that asks for a model's optional attributes.

:mod:`~mmgrad_explain.composers.contract` says what each capability is for. What every composer has with a default
(``target_layer``, ``default_score``, ``default_method``, ``backbone`` and others) is an attribute of
:class:`~mmgrad_explain.composers.base.Composer` and is read from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from mmgrad_explain.attention.model_hints import ask_processor, ask_text_stages
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.files import save_weights, write_default_method
from mmgrad_explain.composers.outputs import HOW_TO
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from mmgrad_explain.composers.contract import AnsweringModel, LabelClassifier, Reader, StagedModel, TrainingStages
    from mmgrad_explain.composers.outputs import LearnedPrompt
    from mmgrad_explain.images.placement import FitImage

_TRAINING_STAGES = ("feature_width", "embed_dim", "embed", "shift", "feature_grid")


@dataclass(frozen=True)
class Capabilities:
    """What one model offers. An attribute is None where the model does not offer it.

    Attributes:
        composer: The model.
        processor: Turns images and texts into tensors.
        reader: The processor, if it encodes images and texts separately.
        stages: The model, if it encodes images and texts separately.
        training_stages: The model, if it can be trained in stages.
        embed_features: From the features of ``encode_image`` to embeddings of the images alone, ``(B, D)``.
        answers: The model, if it answers in words.
        tokenizer: Splits a text into tokens, and says which tokens belong to a word.
        unknown_words: From texts to the words in them that the model does not know.
        fit_image: From an RGB image to the array that training takes, and its placement.
        learned_prompt: From an output and its texts to what the losses of a learned prompt need.
    """

    composer: Composer
    processor: Any
    reader: Reader | None
    stages: StagedModel | None
    training_stages: TrainingStages | None
    embed_features: Callable[[Any], Tensor] | None
    answers: AnsweringModel | None
    tokenizer: Any
    unknown_words: Callable[[Sequence[str]], Sequence[str]] | None
    fit_image: FitImage | None = None
    learned_prompt: Callable[[Any, Tensor, Tensor], LearnedPrompt] | None = None

    @property
    def takes_many_texts(self) -> bool:
        """Whether an image needs to be encoded only once to be explained for many texts."""
        return self.stages is not None and self.reader is not None

    @cached_property
    def missing_to_train(self) -> tuple[str, ...]:
        """What the model lacks to be trained, each with its meaning; empty if it can be trained."""
        needed = {
            "processor.image_size (one square for all images)": hasattr(self.processor, "image_size"),
            "processor.normalise (arrays of that size to pixels)": hasattr(self.processor, "normalise"),
            "processor.encode_texts (texts to ids and mask)": hasattr(self.processor, "encode_texts"),
            "target_layer (dotted name of the layer of the maps)": isinstance(self.composer.target_layer, str),
        }
        return tuple(name for name, has in needed.items() if not has)

    @cached_property
    def keeps_shapes(self) -> bool:
        """Whether images of different shapes keep different sizes, so that each needs a batch of its own."""
        return bool(getattr(self.processor, "keeps_shapes", not hasattr(self.processor, "image_size")))

    def save(self, folder: Path) -> None:
        """Write the model into a folder, by its ``save_pretrained``; without one, write its weights alone.

        A ``default_method`` of its own, another one than that of its kind, is written beside it.
        """
        save: Any = getattr(self.composer, "save_pretrained", None)
        if callable(save):
            save(folder)
            method = self.composer.default_method
            if method is not None and method != type(self.composer).default_method:
                write_default_method(folder, method)
        else:
            save_weights(self.composer, folder)

    def need_tokenizer(self) -> Any:
        """Return the tokenizer.

        Raises:
            InputError: There is none, or it cannot say which tokens a word became.
        """
        if self.tokenizer is None:
            raise InputError(
                f"words: {type(self.composer).__name__} has no processor.tokenizer, which tells words apart (of "
                f"tokenizers or transformers, or with encode and decode); {HOW_TO}"
            )
        if not callable(getattr(self.tokenizer, "encode", None)):
            raise InputError(
                f"words: the tokenizer of {type(self.composer).__name__} is a {type(self.tokenizer).__name__} without "
                f"encode, which tells words apart: take one of tokenizers or transformers, or with encode and decode; "
                f"{HOW_TO}"
            )
        return self.tokenizer


def capabilities(model: Composer) -> Capabilities:
    """Find out what a model offers, without running or changing it.

    Args:
        model: A composer, as :func:`~mmgrad_explain.composers.load.load_composer` gives one.
    """
    processor = getattr(model, "processor", None)
    stages = ask_text_stages(model)
    whole = stages is not None and all(hasattr(model, name) for name in _TRAINING_STAGES)
    embed = getattr(model, "embed", None)
    find_unknown = getattr(processor, "unknown_words", None)
    return Capabilities(
        composer=model,
        processor=processor,
        reader=ask_processor(model),
        stages=stages,
        training_stages=cast("TrainingStages", model) if whole else None,
        embed_features=embed if stages is not None and callable(embed) else None,
        answers=cast("AnsweringModel", model) if getattr(model, "answers_in_words", False) else None,
        tokenizer=getattr(processor, "tokenizer", None) or getattr(model, "tokenizer", None),
        unknown_words=find_unknown if callable(find_unknown) else None,
        fit_image=getattr(processor, "fit_image", None),
        learned_prompt=getattr(model, "learned_prompt", None),
    )


def check_composer(model: object) -> None:
    """Check that a model is a composer.

    Raises:
        InputError: It is something else; the message says how to make a composer of it.
    """
    if not isinstance(model, Composer):
        raise InputError(
            f"model is a {type(model).__name__} and no composer: derive it from Composer ({HOW_TO}), or make one of a "
            "model of transformers or open_clip by load_composer(model, processor)"
        )


def check_trainable(composer: Composer) -> None:
    """Check that a composer offers what training needs.

    Raises:
        InputError: It does not, or is no composer; the message names what is missing.
    """
    check_composer(composer)
    missing = capabilities(composer).missing_to_train
    if missing:
        raise InputError(
            f"{type(composer).__name__} cannot be trained: it has no {', '.join(missing)}; SquareProcessor has what a "
            f"processor needs; {HOW_TO}"
        )


def has_maps_of(composer: Composer, score: str) -> bool:
    """Return whether a score depends on the image; the shift of two towers, the text's embedding, does not."""
    return composer.shift_depends_on_image or score != "shift"


def check_has_maps_of(composer: Composer, score: str) -> None:
    """Check that a composer can have maps of a score that is trained.

    Raises:
        InputError: The score is the shift, which is the same for every image.
    """
    if not has_maps_of(composer, score):
        raise InputError(
            f"grounding.score: what the text adds in {composer.name} is the same for every image, so that 'shift' "
            f"has no maps: set it to {composer.default_score!r}, or put a method on the two towers (FusionComposer)"
        )


def look_layer_of(composer: Composer, kind: str) -> str:
    """Return the name of the layer that gives the logits of one of the composer's attention poolings.

    Args:
        composer: The model.
        kind: ``"pooling"`` or ``"context"``.

    Raises:
        InputError: The composer names none.
    """
    name = {"pooling": composer.pooling_layer, "context": composer.context_layer}[kind]
    if name is None:
        raise InputError(f"grounding.{kind}: {type(composer).__name__} names no {kind}_layer; set it to 0")
    return name


def label_heads_of(stages: TrainingStages) -> Mapping[str, LabelClassifier]:
    """Return the model's own classifiers of the cells of its feature grid, by label map."""
    heads: Mapping[str, LabelClassifier] = getattr(stages, "label_heads", {})
    return heads


def gallery_shape_of(composer: nn.Module) -> tuple[int, ...] | None:
    """Return the shape of an image's embedding as a gallery holds it: ``(D,)``, or ``(Q, D)`` for several vectors.

    None if the composer has no ``embed_dim``. With ``gallery_vectors`` it has that many vectors of an image.
    """
    length = getattr(composer, "embed_dim", None)
    if not isinstance(length, int):
        return None
    vectors = int(getattr(composer, "gallery_vectors", 1))
    return (vectors, length) if vectors > 1 else (length,)


def logit_scale_of(composer: nn.Module) -> nn.Parameter | None:
    """Return the composer's own temperature, its parameter ``logit_scale``; None if it has none."""
    for name, parameter in composer.named_parameters():
        if name.rpartition(".")[2] == "logit_scale" and parameter.numel() == 1:
            return parameter
    return None
