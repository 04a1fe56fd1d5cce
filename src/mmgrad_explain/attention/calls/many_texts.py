"""Explain one image for many texts: the image is encoded once, the texts are composed with it as a batch.

A target layer that runs while composing gets one gradient a text from one backward pass. For a layer that runs while
encoding, one backward pass goes down to the features for all texts together, and from there one vector-Jacobian product
a text to the layer; no forward is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.calls.one_call import explain_call
from mmgrad_explain.attention.calls.shared_features import SharedFeatures
from mmgrad_explain.attention.gradient import check_grids_reached
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.model_hints import ask_encode_text, ask_processor, ask_text_stages
from mmgrad_explain.attention.reruns.map_checks import CallSource
from mmgrad_explain.attention.running.input_images import find_input_images
from mmgrad_explain.attention.running.modules import refuse_sharded
from mmgrad_explain.attention.running.structures import as_arguments, call_with, image_size, map_tensors, tensors_in
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score, mention_guess
from mmgrad_explain.attention.settings import Plan
from mmgrad_explain.attention.word_values.measure import ExplainedCall
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from mmgrad_explain.attention.methods.base import Method
    from mmgrad_explain.attention.settings import MapSettings
    from mmgrad_explain.attention.word_values.token_texts import RunModel
    from mmgrad_explain.explanation.result import Explanation

Encode = Callable[..., Any]
Compose = Callable[..., Any]


@dataclass(frozen=True)
class TextBatch:
    """One image and many texts, as arguments of a model.

    Attributes:
        image: Arguments for encoding.
        texts: Arguments for composing, beside the features.
        count: How many texts there are.
        known: Fields of the explanation that are known: texts, images and placements.
        notices: Notes from preparing them.
    """

    image: Any
    texts: Any
    count: int
    known: dict[str, Any]
    notices: tuple[Note, ...] = ()


@dataclass(frozen=True)
class EncodedTexts:
    """Texts that a model has encoded in advance, for any number of images.

    :func:`encode_texts` makes them.

    Attributes:
        vectors: The result of the model's ``encode_text``, T in a batch.
        texts: The texts as they were written; None where they were passed as tensors.
        notices: Notes from preparing them.
    """

    vectors: Any
    texts: tuple[str, ...] | None = None
    notices: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return next(len(tensor) for tensor in tensors_in(self.vectors))


def encode_texts(root: nn.Module, texts: Any) -> EncodedTexts:
    """Encode texts once; see :meth:`MultiModalGradAttention.encode_texts`."""
    encode = ask_encode_text(root)
    if encode is None:
        raise InputError(
            f"encode_texts: {type(root).__name__} has no encode_text; encode the texts yourself and pass the vectors "
            "to texts(..., encode=..., compose=...)"
        )
    known, notices = None, list[Note]()
    if _are_strings(texts):
        known = (texts,) if isinstance(texts, str) else tuple(texts)
        texts = _encode_strings(root, known, notices)
    _count_texts(texts)
    with undisturbed(root, texts), torch.no_grad():
        vectors = call_with(encode, detach_inputs(texts))
    return EncodedTexts(vectors, known, tuple(notices))


def find_stages(root: nn.Module, encode: Encode | None, compose: Compose | None) -> tuple[Encode, Compose]:
    """Return what encodes an image and what composes it with texts: the arguments, or the model's own stages.

    Raises:
        InputError: one is missing and the model has no ``encode_image``, ``encode_text`` and ``compose``.
    """
    if encode is not None and compose is not None:
        return encode, compose
    stages = ask_text_stages(root)
    if encode is not None or compose is not None or stages is None:
        raise InputError(
            f"texts: {type(root).__name__} does not say how to encode an image by itself; pass both encode= (image "
            "to features) and compose= (features and texts to an output), or explain the texts one by one"
        )

    def compose_texts(features: Any, *args: Any, **kwargs: Any) -> Any:
        is_encoded = args and isinstance(args[0], EncodedTexts)
        return stages.compose(features, args[0].vectors if is_encoded else stages.encode_text(*args, **kwargs))

    return stages.encode_image, compose_texts


def prepare_texts(root: nn.Module, image: Any, texts: Any, *, encoded: bool = True) -> TextBatch:
    """Prepare an image and texts for a model.

    Args:
        root: The model. For strings its ``processor`` must have ``encode_images`` and ``encode_texts``.
        image: What ``encode`` takes (a tensor, a tuple, a mapping), with a batch of 1; with strings anything that
            ``open_image`` takes.
        texts: What ``compose`` takes beside the features, T in a batch; or T strings; or either of them encoded.
        encoded: Whether the texts may be encoded already.

    Raises:
        InputError: there are no texts, the tensors hold different numbers of texts, or the model cannot read strings.
    """
    if _are_strings(texts):
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        notices = list[Note]()
        inputs = _encode_strings(root, texts, notices)
        return _prepare_image(root, image, inputs, texts, notices)
    if isinstance(texts, EncodedTexts) and not encoded:
        raise InputError(
            "texts: encoded texts go with the model's own stages and without words=; for compose= pass the vectors "
            "themselves, for words= the texts"
        )
    if isinstance(texts, EncodedTexts) and texts.texts is not None:
        return _prepare_image(root, image, texts, texts.texts, texts.notices)
    count = _count_texts(texts)
    batches = {len(tensor) for tensor in tensors_in(image) if tensor.ndim > 1}
    if batches - {1}:
        raise InputError(f"texts: one image is explained for many texts, not a batch of {max(batches)}")
    return TextBatch(image, texts, count, {})


def _are_strings(texts: Any) -> bool:
    if isinstance(texts, (str, Mapping, EncodedTexts)):
        return isinstance(texts, str)
    return any(isinstance(text, str) for text in texts)


def _count_texts(texts: Any) -> int:
    """Count the texts in a batch of tensors."""
    counts = {len(tensor) for tensor in tensors_in(texts) if tensor.ndim}
    if len(counts) != 1 or not min(counts):
        raise InputError(f"texts: tensors with one batch of texts are needed, not batches of {sorted(counts)}")
    return min(counts)


def _get_processor(root: nn.Module) -> tuple[Any, torch.device]:
    """Return the model's own processor, and the device of the model."""
    processor = ask_processor(root)
    if processor is None:
        raise InputError(
            f"texts: {type(root).__name__} has no processor with encode_images and encode_texts: pass tensors"
        )
    return processor, device_of(root)


def _encode_strings(root: nn.Module, texts: tuple[str, ...], notices: list[Note]) -> dict[str, Tensor]:
    """Encode strings as token ids and mask."""
    processor, device = _get_processor(root)
    ids, mask = processor.encode_texts(list(texts), notices)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _prepare_image(
    root: nn.Module, image: Any, inputs: Any, texts: tuple[str, ...], notices: Sequence[Note]
) -> TextBatch:
    """Prepare an image that is not a tensor yet."""
    from mmgrad_explain.images.reading import open_image

    processor, device = _get_processor(root)
    opened = open_image(image)
    pixels, placements = processor.encode_images([opened])
    count = len(texts)
    known = {"texts": texts, "images": (opened,) * count, "placements": tuple(placements) * count}
    return TextBatch(pixels.to(device), inputs, count, known, join_notes(notices, count))


def explain_texts(
    settings: MapSettings, image: Any, texts: Any, encode: Encode | None, compose: Compose | None
) -> Explanation:
    """Explain one image for many texts; see :meth:`MultiModalGradAttention.texts`."""
    root = settings.root
    refuse_sharded(root, "texts")
    encode_image, compose_texts = find_stages(root, encode, compose)
    own = encode is None and compose is None
    batch = prepare_texts(root, image, texts, encoded=own and settings.words is None)
    method = _choose_method(settings, image, batch, own=own)
    if settings.layers is None and method.needs.layers:
        raise InputError("texts: no target layer is known; name one, or call mmgrad(...) once to have it found")
    if not method.needs.of_layers_alone:
        return _explain_whole(settings, method, image, batch, own=own)
    with undisturbed(root, (batch.image, batch.texts)) as parents:
        batch = replace(batch, image=detach_inputs(batch.image), texts=detach_inputs(batch.texts))
        args, kwargs = as_arguments(batch.texts)
        size = image_size(batch.image)
        plan = Plan(settings.layers or {})
        with settings.record(plan, parents) as seen, settings.record_words(args, kwargs) as word_capture:
            seen.set_image_size(size)
            seen.arguments = _as_call(batch.image, batch.texts)
            shared = SharedFeatures(call_with(encode_image, batch.image), batch.count, seen)
            output = call_with(compose_texts, batch.texts, shared.rows)
            seen.stop()
            scorer = choose_score(root, settings.score, output)
            also = word_capture.embeddings if word_capture else ()
            with mention_guess(scorer):
                score = ensure_per_sample(scorer(output), [batch.count])
                seen.choose_parts(score, *shared.features)
                taken = shared.take_gradients(score, seen, also)
            layouts = settings.find_layouts(seen)
            check_grids_reached(taken[0], layouts, root)
        run = Run(root, seen, score, layouts, also=also, taken=taken)
        repeat = _compose_again(compose_texts, shared.rows)
        call = ExplainedCall(scorer, [output], score[None], (args, kwargs), repeat, root, is_encoded=True)
        explanation = settings.explain(method, run, call, size, word_capture)

    def compose_changed(inputs: Any) -> Any:
        changed, of_texts = inputs[0]
        return call_with(compose_texts, of_texts, call_with(encode_image, changed))

    inputs = ((map_tensors(batch.image, partial(_repeat, batch.count)), batch.texts), dict[str, Any]())
    source = CallSource(root, inputs, compose_changed, scorer, one_image=True)
    return replace(explanation, **batch.known, notes=(*explanation.notes, *batch.notices), source=source)


def _choose_method(settings: MapSettings, image: Any, batch: TextBatch, *, own: bool) -> Method:
    """Return the method of a call with the first text; where the stages are no such call, that of layers."""
    if not own or (isinstance(batch.texts, EncodedTexts) and batch.texts.texts is None):
        return settings.choose_layer_method()
    method = settings.choose_method()
    if settings.method is not None or settings.by_kind is not None or settings.named:
        return method
    whole = _as_inputs(settings.root, image, batch, first=True) or batch
    inputs = _as_call(whole.image, whole.texts)
    with undisturbed(settings.root, inputs):
        inputs = detach_inputs(inputs)
        return settings.choose_method(inputs, find_input_images(settings.root, inputs))


def _as_call(image: Any, texts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments, positional and by name, that pass an image and texts to the model."""
    image_args, image_kwargs = as_arguments(image)
    args, kwargs = as_arguments(texts)
    return (*image_args, *args), {**image_kwargs, **kwargs}


def _as_inputs(root: nn.Module, image: Any, batch: TextBatch, *, first: bool = False) -> TextBatch | None:
    """Return a batch, or the first text of it, for the model's forward; None for encoded texts without strings."""
    if not isinstance(batch.texts, EncodedTexts):
        cut = map_tensors(batch.texts, lambda tensor: tensor[:1] if tensor.ndim else tensor)
        return replace(batch, texts=cut, count=1) if first else batch
    if batch.texts.texts is None:
        return None
    return prepare_texts(root, image, batch.texts.texts[: 1 if first else None])


def _compose_again(compose: Compose, features: Any) -> RunModel:
    """Make a function that composes the image with other texts."""

    def run(args: tuple[Any, ...], kwargs: dict[str, Any], samples: Sequence[int]) -> Sequence[Any]:
        of_rows = map_tensors(features, lambda tensor: tensor[:1].expand(len(samples), *tensor.shape[1:]))
        return [compose(of_rows, *args, **kwargs)]

    return run


def _explain_whole(settings: MapSettings, method: Method, image: Any, batch: TextBatch, *, own: bool) -> Explanation:
    """Explain by a method that needs the whole forward: the image is repeated for every text.

    Raises:
        InputError: the stages are the caller's own, or the texts are encoded and not known as strings, so that the
            model's forward does not take image and texts.
    """
    whole = _as_inputs(settings.root, image, batch) if own else None
    if whole is None:
        raise InputError(
            f"texts: method {method.name!r} needs the whole forward of the model, not encoded texts or stages of your "
            "own: pass the texts themselves, or repeat the image for each text and call mmgrad(...)"
        )
    args, kwargs = _as_call(map_tensors(whole.image, partial(_repeat, whole.count)), whole.texts)
    explanation = explain_call(settings, args, kwargs, of_one_image=whole.count)
    return replace(explanation, **whole.known, notes=(*explanation.notes, *whole.notices))


def _repeat(count: int, tensor: Tensor) -> Tensor:
    return tensor.expand(count, *tensor.shape[1:]) if tensor.ndim else tensor
