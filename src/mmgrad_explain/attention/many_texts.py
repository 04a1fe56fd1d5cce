"""Many texts for one picture: the picture is encoded once, the texts are composed with it as a batch.

A target layer that runs while composing gets one gradient a text from one backward pass. For one that runs while
encoding, one backward pass goes down to the features for all texts together, and from there one vector-Jacobian product
a text to the layer; no forward is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.devices import device_of
from mmgrad_explain.attention.attributes import encoder_of_texts, reader_of, staged
from mmgrad_explain.attention.gradient import differentiate, full, take_gradients
from mmgrad_explain.attention.structures import map_tensors, tensors_in
from mmgrad_explain.attention.undisturbed import own_inputs, undisturbed
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.notes import Note, join_notes

if TYPE_CHECKING:
    from mmgrad_explain.attention.attributes import Reader
    from mmgrad_explain.attention.capture import Capture

# How many texts go back together: on a CPU as many as its cache holds, else as many as memory surely does.
_AT_ONCE, _AT_ONCE_ELSEWHERE = 8, 64

Encode = Callable[..., Any]
Compose = Callable[..., Any]


@dataclass(frozen=True)
class Question:
    """One picture and many texts, ready for a model.

    Attributes:
        image: Arguments for encoding.
        texts: Arguments for composing, beside the features.
        count: How many texts.
        known: Fields of the explanation: texts, images and placements, where they are known.
        notices: What preparing them had to say.
    """

    image: Any
    texts: Any
    count: int
    known: dict[str, Any]
    notices: tuple[Note, ...] = ()


@dataclass(frozen=True)
class EncodedTexts:
    """Texts that a model has encoded in advance, for any number of pictures; :func:`encode_texts` makes them.

    Attributes:
        vectors: What the model's ``encode_text`` gave, T in a batch.
        texts: The texts as they were written; None where they were handed in as tensors.
        notices: What preparing them had to say.
    """

    vectors: Any
    texts: tuple[str, ...] | None = None
    notices: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return next(len(tensor) for tensor in tensors_in(self.vectors))


def encode_texts(root: nn.Module, texts: Any) -> EncodedTexts:
    """Encode texts once; see :meth:`MultiModalGradAttention.encode_texts`."""
    encode = encoder_of_texts(root)
    if encode is None:
        raise InputError(
            f"encode_texts: {type(root).__name__} has no encode_text; encode the texts yourself and hand the vectors "
            "to texts(..., encode=..., compose=...)"
        )
    known, notices = None, list[Note]()
    if _in_words(texts):
        known = (texts,) if isinstance(texts, str) else tuple(texts)
        texts = _read(root, known, notices)
    _count(texts)
    with undisturbed(root, texts), torch.no_grad():
        vectors = spread(encode, own_inputs(texts))
    return EncodedTexts(vectors, known, tuple(notices))


def stages_of(root: nn.Module, encode: Encode | None, compose: Compose | None) -> tuple[Encode, Compose]:
    """Give what encodes a picture and what composes it with texts: what was handed in, or the model's own stages.

    Raises:
        InputError: one is missing and the model has no ``encode_image``, ``encode_text`` and ``compose``.
    """
    if encode is not None and compose is not None:
        return encode, compose
    model = staged(root)
    if encode is not None or compose is not None or model is None:
        raise InputError(
            f"texts: {type(root).__name__} does not say how to encode a picture by itself; pass both encode= (picture "
            "to features) and compose= (features and texts to an output), or explain the texts one by one"
        )

    def composed(features: Any, *args: Any, **kwargs: Any) -> Any:
        encoded = args[0].vectors if args and isinstance(args[0], EncodedTexts) else model.encode_text(*args, **kwargs)
        return model.compose(features, encoded)

    return model.encode_image, composed


def ask(root: nn.Module, image: Any, texts: Any, *, encoded: bool = True) -> Question:
    """Prepare a picture and texts.

    Args:
        root: The model. For words its ``processor`` must have ``encode_images`` and ``encode_texts``.
        image: What ``encode`` takes (a tensor, a tuple, a mapping), with a batch of 1; or a picture with words.
        texts: What ``compose`` takes beside the features, T in a batch; or a list of T strings; or either encoded.
        encoded: Whether the texts may be encoded already.

    Raises:
        InputError: no texts, texts of different numbers, or the model cannot read strings.
    """
    if _in_words(texts):
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        notices = list[Note]()
        inputs = _read(root, texts, notices)
        return _with_picture(root, image, inputs, texts, notices)
    if isinstance(texts, EncodedTexts) and not encoded:
        raise InputError(
            "texts: encoded texts go with the model's own stages and without words=; for compose= hand in the vectors "
            "themselves, for words= the texts"
        )
    if isinstance(texts, EncodedTexts) and texts.texts is not None:
        return _with_picture(root, image, texts, texts.texts, texts.notices)
    count = _count(texts)
    batches = {len(tensor) for tensor in tensors_in(image) if tensor.ndim > 1}
    if batches - {1}:
        raise InputError(f"texts: one picture is explained for many texts, not a batch of {max(batches)}")
    return Question(image, texts, count, {})


def _in_words(texts: Any) -> bool:
    if isinstance(texts, (str, Mapping, EncodedTexts)):
        return isinstance(texts, str)
    return any(isinstance(one, str) for one in texts)


def _count(texts: Any) -> int:
    """How many texts these tensors hold."""
    counts = {len(tensor) for tensor in tensors_in(texts) if tensor.ndim}
    if len(counts) != 1 or not min(counts):
        raise InputError(f"texts: tensors with one batch of texts are needed, not batches of {sorted(counts)}")
    return min(counts)


def _processor_of(root: nn.Module) -> tuple[Reader, torch.device]:
    """What reads pictures and words for a model, and where the model is."""
    processor = reader_of(root)
    if processor is None:
        raise InputError(
            f"texts: {type(root).__name__} has no processor with encode_images and encode_texts: hand in tensors"
        )
    return processor, device_of(root)


def _read(root: nn.Module, texts: tuple[str, ...], notices: list[Note]) -> dict[str, Tensor]:
    """Words to ids and mask."""
    processor, place = _processor_of(root)
    ids, mask = processor.encode_texts(list(texts), notices)
    return {"input_ids": ids.to(place), "attention_mask": mask.to(place)}


def _with_picture(
    root: nn.Module, image: Any, inputs: Any, texts: tuple[str, ...], notices: Sequence[Note]
) -> Question:
    """Ask of a picture as people have it."""
    from mmgrad_explain.images.reading import open_image

    processor, place = _processor_of(root)
    picture = open_image(image)
    pixels, placements = processor.encode_images([picture])
    count = len(texts)
    known = {"texts": texts, "images": (picture,) * count, "placements": tuple(placements) * count}
    return Question(pixels.to(place), inputs, count, known, join_notes(notices, count))


class Once:
    """One picture's features, for each of many texts, and the way back from them.

    Attributes:
        rows: The features repeated for each text, in a graph that begins here.
    """

    def __init__(self, encode: Encode, question: Question, seen: Capture) -> None:
        """Encode the picture; layers that run now are recorded.

        Args:
            encode: Picture to features.
            question: The picture, and how many texts.
            seen: What records; it has been entered.
        """
        self._count = question.count
        self._features = spread(encode, question.image)
        self._early = {name: len(calls) for name, calls in seen.records.items()}
        self._starts: list[tuple[Tensor, Tensor]] = []
        self.rows = map_tensors(self._features, self._repeat)

    @property
    def features(self) -> list[Tensor]:
        """The picture's features that have a graph."""
        return [features for features, _ in self._starts]

    def _repeat(self, tensor: Tensor) -> Tensor:
        if len(tensor) != 1:
            raise InputError(f"texts: encode gave features of shape {tuple(tensor.shape)}, whose batch is not 1")
        rows = tensor.detach().expand(self._count, *tensor.shape[1:])
        if tensor.requires_grad:
            rows = rows.clone().requires_grad_()
            self._starts.append((tensor, rows))
        return rows

    def gradients(
        self, score: Tensor, seen: Capture, also: Sequence[Tensor]
    ) -> tuple[dict[str, list[Tensor | None]], list[Tensor | None]]:
        """Take the gradient of each text's score at every record, one row a text.

        Records of the encoding are repeated in ``seen``, one row a text.

        Args:
            score: (T,).
            seen: The records.
            also: Other tensors that the same backward pass is to reach.

        Raises:
            GradientError: the score does not depend on a layer.
        """
        early = {name: seen.calls(name)[: self._early[name]] for name in seen.records}
        if not any(early.values()):
            return take_gradients(score, seen, also=also)
        late = [record.activation for name, n in self._early.items() for record in seen.records[name][n:]]
        rows = [row for _, row in self._starts]
        taken = differentiate(score, [*late, *rows, *also])
        of_late, of_rows, of_also = iter(taken[: len(late)]), taken[len(late) :][: len(rows)], taken[len(late + rows) :]
        wanted = [record.activation for records in early.values() for record in records]
        of_early = iter(self._back(of_rows, wanted))
        found = {
            name: [next(of_early) for _ in early[name]] + [next(of_late) for _ in seen.records[name][n:]]
            for name, n in self._early.items()
        }
        for name, records in early.items():
            if all(gradient is None for gradient in found[name]):
                raise GradientError(f"the score does not depend on layer {name!r}: choose another layer or score")
            repeated = [replace(one, activation=self._expanded(one.activation)) for one in records]
            seen.records[name][: len(records)] = repeated
        return found, of_also

    def _expanded(self, activation: Tensor) -> Tensor:
        return activation.detach().expand(self._count, *activation.shape).flatten(0, 1)  # rows of one picture, packed

    def _back(self, of_rows: Sequence[Tensor | None], wanted: Sequence[Tensor]) -> list[Tensor | None]:
        """From the features' gradients, (T, ...), to those of what was recorded before, (T, ...) each."""
        pairs = [
            (features, of_row.to(features.dtype))
            for (features, _), of_row in zip(self._starts, of_rows, strict=True)
            if of_row is not None
        ]
        if not pairs:
            return [None] * len(wanted)
        features = [one for one, _ in pairs]
        at_once = _AT_ONCE if features[0].device.type == "cpu" else _AT_ONCE_ELSEWHERE
        parts = [
            self._products(features, wanted, [of_row[start : start + at_once, None] for _, of_row in pairs])
            for start in range(0, self._count, at_once)
        ]
        return [
            None if of_one[0] is None else full(torch.cat(of_one)).flatten(0, 1) for of_one in zip(*parts, strict=True)
        ]

    @staticmethod
    def _products(features: list[Tensor], wanted: Sequence[Tensor], rows: list[Tensor]) -> tuple[Any, ...]:
        """One vector-Jacobian product a row: (T, 1, ...) to (T, 1, ...) of each of ``wanted``, or None for all."""

        def product(of_rows: list[Tensor], *, batched: bool) -> tuple[Any, ...]:
            return torch.autograd.grad(
                features, wanted, of_rows, retain_graph=True, allow_unused=True, is_grads_batched=batched
            )

        try:
            return product(rows, batched=True)
        except RuntimeError:  # an operation that cannot be batched: one text after the other
            one_by_one = [product([of_row[index] for of_row in rows], batched=False) for index in range(len(rows[0]))]
            return tuple(None if of_one[0] is None else torch.stack(of_one) for of_one in zip(*one_by_one, strict=True))


def spread(function: Callable[..., Any], inputs: Any, *before: Any) -> Any:
    """Call with inputs as they come: a mapping by name, a tuple or list in order, anything else alone."""
    args, kwargs = as_call(inputs)
    return function(*before, *args, **kwargs)


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give positional and keyword arguments of inputs as they come."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})
