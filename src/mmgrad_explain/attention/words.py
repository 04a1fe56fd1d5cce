"""Measure what each word of the text contributes to the score: gradient x input at the embedding of the words.

For the token at position i with embedding ``e_i`` the value is ``<ds/de_i, e_i>``, the first-order change of the score
when the embedding is scaled; a word's value is the sum over its tokens. The gradient comes from the same backward
pass as that of the map. Source: Simonyan et al., arXiv 1312.6034; Shrikumar et al., arXiv 1605.01713 (gradient x
input); Denil et al., arXiv 1412.6815 (for words, at their embeddings).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.forward_modes import is_repetition
from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.structures import map_tensors, tensors_in
from mmgrad_explain.errors import CaptureError, GradientError, InputError
from mmgrad_explain.explanation.words import Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TABLES = (nn.Embedding, nn.EmbeddingBag)

Pieces = list[tuple[str, tuple[int, ...]]]
"""The words of one text, each with the positions of its tokens."""

NameWords = Callable[[list[list[int]], list[list[int]]], list[Pieces]]
"""Token ids and unmasked positions of each text to its words."""


@dataclass(frozen=True)
class _EmbeddingCall:
    name: str
    vocabulary: int
    ids: Tensor
    embedding: Tensor


class WordCapture:
    """The embeddings of the words during one block, recorded so that a gradient can be taken with respect to them.

    Every ``nn.Embedding`` that is called with the caller's own integers is recorded, and the one with the largest
    vocabulary counts: others look up positions or token types.
    """

    def __init__(self, root: nn.Module, inputs: Any, layers: Mapping[str, nn.Module] | None = None) -> None:
        """Prepare to record; the model is not touched before the block is entered.

        Args:
            root: The unwrapped model.
            inputs: Positional and keyword arguments of the call.
            layers: Name to module of the embedding, if the user named it.
        """
        args, kwargs = inputs
        with_ids = [args, *(value for name, value in kwargs.items() if "position" not in name and "type" not in name)]
        self._recorded: list[_EmbeddingCall] = []
        self._integers = [tensor for tensor in tensors_in(with_ids) if _holds_integers(tensor)]
        self._masks = [tensor for name, value in kwargs.items() if "mask" in name for tensor in tensors_in(value)]
        self._named = layers
        self._layers = dict(layers or _find_embeddings(root))
        self._stack = contextlib.ExitStack()
        self._thread = 0
        self._bags: set[str] = set()

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        for name, module in self._layers.items():
            handle = module.register_forward_hook(self._hook_for(name, module), with_kwargs=True)
            self._stack.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def calls(self) -> list[_EmbeddingCall]:
        """The calls of the embedding with the largest vocabulary that have the same ids as its first call."""
        largest = max((call.vocabulary for call in self._recorded), default=0)
        left = [call for call in self._recorded if call.vocabulary == largest]
        return [call for call in left if _are_equal(call.ids, left[0].ids)]

    def _hook_for(self, name: str, module: nn.Module) -> Callable[..., Any]:
        def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any = None) -> Any:
            # A forward of another thread may pass no kwargs if this hook is removed while that forward runs.
            repeats = is_repetition()
            if not repeats and threading.get_ident() != self._thread:
                return None
            ids = next((tensor for tensor in tensors_in((args, kwargs)) if _holds_integers(tensor)), None)
            if ids is None or (self._named is None and not any(_are_equal(ids, tensor) for tensor in self._integers)):
                return None
            tensor = next((t for t in tensors_in(output) if t.is_floating_point()), None)
            if tensor is None or tensor.ndim < 3:
                self._bags.add(name)
                return None
            if torch.is_inference_mode_enabled():
                raise GradientError(
                    f"words: the embedding {name!r} runs inside a torch.inference_mode() block of the model's own: use "
                    "torch.no_grad() there"
                )
            torch.set_grad_enabled(True)  # until the model's own no_grad block ends and restores the mode before it
            embedding = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
            if not repeats:
                vocabulary = int(getattr(_strip_adapter(module), "num_embeddings", 0))
                self._recorded.append(_EmbeddingCall(name, vocabulary, ids.reshape(tensor.shape[:2]), embedding))
            passed_on = embedding.clone()
            return map_tensors(output, lambda other: passed_on if other is tensor else other)

        return hook

    @property
    def embeddings(self) -> list[Tensor]:
        """The embeddings of the words, (B, L, D) each.

        Raises:
            CaptureError: no embedding of words was called.
        """
        if self._recorded:
            return [call.embedding for call in self.calls]
        if self._bags:
            raise CaptureError(
                f"words: {', '.join(map(repr, sorted(self._bags)))} mixes the words' vectors, so that no word has a "
                "value of its own; name a layer that gives (batch, words, channels) as words_layer="
            )
        if self._named:
            raise CaptureError(
                f"words: {', '.join(map(repr, self._named))} was not called with whole numbers in this forward; name "
                "the embedding that looks the token ids up as words_layer="
            )
        raise CaptureError(
            "words: no nn.Embedding of the model was called with whole numbers from its own inputs; pass the token ids "
            "to the model, or name the embedding as words_layer="
        )

    def values(self, gradients: Sequence[Tensor | None], batch: int) -> Tensor:
        """Compute what each token contributes, (B, L) float32 or float64; calls with the same ids add up.

        Args:
            gradients: The gradient at each of :attr:`embeddings`.
            batch: How many samples the score has.

        Raises:
            GradientError: the score depends on no word, or the values are not finite.
            InputError: there is not one text for each sample.
        """
        pairs = zip(self.embeddings, gradients, strict=True)
        parts = [
            (to_float(embedding.detach()) * gradient).sum(-1) for embedding, gradient in pairs if gradient is not None
        ]
        if not parts:
            raise GradientError(
                f"words: the score does not depend on the embedding {self.calls[0].name!r}; another score may, or name "
                "another words_layer="
            )
        total = torch.stack(parts).sum(0)
        if len(total) != batch:
            raise InputError(f"words: {len(total)} texts for {batch} samples; pass one text for each sample")
        if not bool(total.isfinite().all()):
            raise GradientError("words: the values are not finite; try bfloat16 or float32")
        return total

    def tokens(self) -> tuple[list[list[int]], list[list[int]]]:
        """Return the token ids of each text, and the positions of those that are not masked."""
        ids = self.calls[0].ids.cpu()
        mask = next((mask.cpu() for mask in self._masks if mask.shape == ids.shape), torch.ones_like(ids))
        return ids.tolist(), [row.nonzero().flatten().tolist() for row in mask]


def name_words(values: Tensor, pieces: Sequence[Pieces]) -> tuple[tuple[Word, ...], ...]:
    """Add up the values of tokens to words.

    Args:
        values: (B, L).
        pieces: The words of each of the B texts.
    """
    result = []
    for row, words in zip(values.detach().cpu().double().tolist(), pieces, strict=True):
        sums = [sum(row[position] for position in positions) for _, positions in words]
        largest = max(map(abs, sums), default=0.0) or 1.0
        result.append(
            tuple(
                Word(text, value, value / largest, positions)
                for (text, positions), value in zip(words, sums, strict=True)
            )
        )
    return tuple(result)


def ensure_words(words: Any) -> NameWords | None:
    """Return the function that names the words of a batch, or None where no words are wanted.

    Args:
        words: False or None; True, which names each token by its id; a tokenizer (transformers', tokenizers', or any
            with ``encode`` and ``decode``); or a callable that takes token ids and unmasked positions, one list a
            text, and returns the words of each text: pairs of a word and the positions of its tokens.

    Raises:
        TypeError: ``words`` is none of these.
    """
    if words is None or words is False:
        return None
    if words is True:
        return _name_by_id
    if hasattr(words, "encode") and hasattr(words, "decode"):
        return lambda ids, kept: [
            _decode_words(words, row, positions) for row, positions in zip(ids, kept, strict=True)
        ]
    if callable(words):
        return words  # type: ignore[no-any-return]
    raise TypeError(f"words must be True, a tokenizer or a callable, not {type(words).__name__}")


def pieces_of_text(tokenizer: Any, text: str, ids: Sequence[int], kept: Sequence[int]) -> Pieces:
    """Find the tokens of each word of a text.

    A word begins where the tokenizer begins one (by its word ids) and at white space. Special tokens, padding, tokens
    that are not in the text, and words without tokens are left out.

    Args:
        tokenizer: A tokenizer of transformers or tokenizers; with others each token is a word.
        text: The text that was encoded.
        ids: The tokens that the model got.
        kept: The positions among them that are not padding.

    Returns:
        The words in the order of the text.
    """
    encoding = getattr(tokenizer, "backend_tokenizer", tokenizer).encode(text)
    if not hasattr(encoding, "offsets"):
        special = set(getattr(tokenizer, "all_special_ids", ()))
        return [(str(tokenizer.decode([ids[at]])).strip(), (at,)) for at in kept if ids[at] not in special]
    row = [ids[at] for at in kept]
    blocks = SequenceMatcher(None, encoding.ids, row, autojunk=False).get_matching_blocks()
    pairs = [(block.a + step, kept[block.b + step]) for block in blocks for step in range(block.size)]
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for at, position in pairs:
        start, end = encoding.offsets[at]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if encoding.special_tokens_mask[at] or encoding.word_ids[at] is None or start >= end:
            continue
        word = sum(begin <= start for begin in starts)
        spans, positions = found.setdefault((encoding.word_ids[at], word), ([], []))
        spans += [start, end]
        positions.append(position)
    return [(text[min(spans) : max(spans)].strip(), tuple(places)) for spans, places in found.values()]


def _decode_words(tokenizer: Any, ids: Sequence[int], kept: Sequence[int]) -> Pieces:
    """Name the words of a text of which only the tokens are known."""
    special = set(getattr(tokenizer, "all_special_ids", ()))
    row = [ids[at] for at in kept if ids[at] not in special]
    text = (
        tokenizer.decode(row, skip_special_tokens=True)
        if _can_skip_special_tokens(tokenizer)
        else tokenizer.decode(row)
    )
    return pieces_of_text(tokenizer, str(text), ids, kept)


def _can_skip_special_tokens(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "backend_tokenizer") or hasattr(tokenizer, "get_vocab_size")


def _name_by_id(ids: list[list[int]], kept: list[list[int]]) -> list[Pieces]:
    return [[(f"#{row[at]}", (at,)) for at in places] for row, places in zip(ids, kept, strict=True)]


def _find_embeddings(root: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Find the embeddings by name; for one inside an adapter (LoRA) the adapter counts."""
    named = [(name, module) for name, module in root.named_modules() if isinstance(_strip_adapter(module), _TABLES)]
    inside = {id(_strip_adapter(module)) for _, module in named if _strip_adapter(module) is not module}
    return ((name, module) for name, module in named if id(module) not in inside)


def _strip_adapter(module: nn.Module) -> nn.Module:
    """Return the module inside an adapter of peft, or the module itself."""
    base = getattr(module, "base_layer", None)
    return base if isinstance(base, nn.Module) else module


def _holds_integers(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def _are_equal(ids: Tensor, number: Tensor) -> bool:
    return ids.numel() == number.numel() and bool((ids.flatten() == number.flatten().to(ids.device)).all())
