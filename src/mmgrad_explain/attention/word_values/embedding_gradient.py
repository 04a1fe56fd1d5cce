"""Measure what each word contributes to the score by gradient x input at its embedding; and find the token ids.

For the token at position i with embedding ``e_i`` the value is ``<ds/de_i, e_i>``, the first-order change of the score
when the embedding is scaled; a word's value is the sum over its tokens. The gradient comes from the same backward
pass as that of the map. Source: Simonyan et al., arXiv 1312.6034; Shrikumar et al., arXiv 1605.01713 (gradient x
input); Denil et al., arXiv 1412.6815 (for words, at their embeddings).
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.gradient import to_float
from mmgrad_explain.attention.running.forward_modes import is_repetition
from mmgrad_explain.attention.running.structures import map_tensors, tensors_in
from mmgrad_explain.errors import CaptureError, GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_TABLES = (nn.Embedding, nn.EmbeddingBag)


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

    def __init__(
        self, root: nn.Module, inputs: Any, layers: Mapping[str, nn.Module] | None = None, *, gradient: bool = True
    ) -> None:
        """Prepare to record; the model is not touched before the block is entered.

        Args:
            root: The unwrapped model.
            inputs: Positional and keyword arguments of the call.
            layers: Name to module of the embedding, if the user named it.
            gradient: Whether a gradient will be taken; else only the token ids are recorded.
        """
        args, kwargs = inputs
        with_ids = [args, *(value for name, value in kwargs.items() if "position" not in name and "type" not in name)]
        self._recorded: list[_EmbeddingCall] = []
        self._integers = [tensor for tensor in tensors_in(with_ids) if _holds_integers(tensor)]
        self._masks = [tensor for name, value in kwargs.items() if "mask" in name for tensor in tensors_in(value)]
        self._named = layers
        self._gradient = gradient
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
            if not self._gradient:
                self._record(name, module, ids, tensor.detach())
                return None
            if torch.is_inference_mode_enabled():
                raise GradientError(
                    f"words: the embedding {name!r} runs inside a torch.inference_mode() block of the model's own: use "
                    "torch.no_grad() there"
                )
            torch.set_grad_enabled(True)  # until the model's own no_grad block ends and restores the mode before it
            embedding = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
            if not repeats:
                self._record(name, module, ids, embedding)
            passed_on = embedding.clone()
            return map_tensors(output, lambda other: passed_on if other is tensor else other)

        return hook

    def _record(self, name: str, module: nn.Module, ids: Tensor, embedding: Tensor) -> None:
        vocabulary = int(getattr(_strip_adapter(module), "num_embeddings", 0))
        self._recorded.append(_EmbeddingCall(name, vocabulary, ids.reshape(embedding.shape[:2]), embedding))

    def stop(self) -> None:
        """Stop recording, so that the model can be run again inside the block."""
        self._stack.close()

    @property
    def embeddings(self) -> list[Tensor]:
        """The embeddings of the words, (B, L, D) each; none where no gradient will be taken.

        Raises:
            CaptureError: no embedding of words was called.
        """
        self._check_recorded()
        return [call.embedding for call in self.calls] if self._gradient else []

    @property
    def ids(self) -> Tensor:
        """The token ids of each text, (B, L)."""
        return self.calls[0].ids

    def _check_recorded(self) -> None:
        if self._recorded:
            return
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
