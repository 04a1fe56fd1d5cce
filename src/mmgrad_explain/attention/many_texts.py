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

from mmgrad_explain.attention.gradient import differentiate, full, take_gradients
from mmgrad_explain.attention.structures import map_tensors, tensors_in
from mmgrad_explain.errors import GradientError, InputError

if TYPE_CHECKING:
    from mmgrad_explain.attention.capture import Capture

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
    notices: tuple[str, ...] = ()


def stages_of(root: nn.Module, encode: Encode | None, compose: Compose | None) -> tuple[Encode, Compose]:
    """Give what encodes a picture and what composes it with texts: what was handed in, or the model's own stages.

    Raises:
        InputError: one is missing and the model has no ``encode_image``, ``encode_text`` and ``compose``.
    """
    if encode is not None and compose is not None:
        return encode, compose
    own: Any = [getattr(root, name, None) for name in ("encode_image", "encode_text", "compose")]
    if encode is not None or compose is not None or not all(callable(stage) for stage in own):
        raise InputError(
            f"texts: {type(root).__name__} does not say how to encode a picture by itself; pass both encode= (picture "
            "to features) and compose= (features and texts to an output), or explain the texts one by one"
        )
    image, text, both = own

    def composed(features: Any, *args: Any, **kwargs: Any) -> Any:
        return both(features, text(*args, **kwargs))

    return image, composed


def ask(root: nn.Module, image: Any, texts: Any) -> Question:
    """Prepare a picture and texts.

    Args:
        root: The model. For words its ``processor`` must have ``encode_images`` and ``encode_texts``.
        image: What ``encode`` takes (a tensor, a tuple, a mapping), with a batch of 1; or a picture with words.
        texts: What ``compose`` takes beside the features, T in a batch; or a list of T strings.

    Raises:
        InputError: no texts, texts of different numbers, or the model cannot read strings.
    """
    if isinstance(texts, str) or (not isinstance(texts, Mapping) and any(isinstance(one, str) for one in texts)):
        return _ask_in_words(root, image, [texts] if isinstance(texts, str) else list(texts))
    counts = {len(tensor) for tensor in tensors_in(texts) if tensor.ndim}
    if len(counts) != 1 or not min(counts):
        raise InputError(f"texts: tensors with one batch of texts are needed, not batches of {sorted(counts)}")
    batches = {len(tensor) for tensor in tensors_in(image) if tensor.ndim > 1}
    if batches - {1}:
        raise InputError(f"texts: one picture is explained for many texts, not a batch of {max(batches)}")
    return Question(image, texts, min(counts), {})


def _ask_in_words(root: nn.Module, image: Any, texts: list[str]) -> Question:
    from mmgrad_explain.images import open_image

    processor: Any = getattr(root, "processor", None)
    if not hasattr(processor, "encode_images") or not hasattr(processor, "encode_texts"):
        raise InputError(
            f"texts: {type(root).__name__} has no processor with encode_images and encode_texts: hand in tensors"
        )
    picture, notices = open_image(image), list[str]()
    pixels, placements = processor.encode_images([picture])
    ids, mask = processor.encode_texts(texts, notices)
    place = next((parameter.device for parameter in root.parameters()), torch.device("cpu"))
    known = {
        "texts": tuple(texts),
        "images": (picture,) * len(texts),
        "placements": tuple(placements) * len(texts),
    }
    inputs = {"input_ids": ids.to(place), "attention_mask": mask.to(place)}
    return Question(pixels.to(place), inputs, len(texts), known, tuple(notices))


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
        taken: tuple[Tensor | None, ...]
        try:
            taken = torch.autograd.grad(
                features, wanted, [of_row[:, None] for _, of_row in pairs],
                retain_graph=True, allow_unused=True, is_grads_batched=True,
            )  # fmt: skip
        except RuntimeError:  # an operation that cannot be batched: one text after the other
            one_by_one: Any = [
                torch.autograd.grad(
                    features, wanted, [of_row[index : index + 1] for _, of_row in pairs],
                    retain_graph=True, allow_unused=True,
                )
                for index in range(self._count)
            ]  # fmt: skip
            taken = tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*one_by_one, strict=True))
        return [None if one is None else full(one).flatten(0, 1) for one in taken]


def spread(function: Callable[..., Any], inputs: Any, *before: Any) -> Any:
    """Call with inputs as they come: a mapping by name, a tuple or list in order, anything else alone."""
    args, kwargs = as_call(inputs)
    return function(*before, *args, **kwargs)


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give positional and keyword arguments of inputs as they come."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})
