"""Record the attention inside blocks of a model during a forward, as part of the graph that the score is computed on.

No model is changed and no configuration is set. While the block of a :class:`AttentionRecorder` is open, torch's own
functions are watched inside the wanted modules: ``scaled_dot_product_attention`` is computed by plain matrix products
there, so that its probabilities exist, and a softmax between two matrix products is recorded as it is. This covers the
attention of transformers (``sdpa`` and ``eager``), timm, open_clip, ``nn.MultiheadAttention`` and most code written by
hand. Kernels of other packages (flash-attention, xformers) are not seen.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import threading
import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mmgrad_explain.attention.running.forward_modes import is_repetition
from mmgrad_explain.attention.running.structures import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

_SDPA: Callable[..., Tensor] = F.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, Tensor.softmax, F.softmax, torch.special.softmax)
_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm)
_MHA_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


@dataclass(frozen=True)
class AttentionCall:
    """One attention of one forward: H heads, Nq queries and Nk keys.

    Attributes:
        block: Dotted name of the module that it ran in.
        call: How often that module had run before.
        index: How many attentions had run before in this call of the module.
        probabilities: (B, H, Nq, Nk), after the softmax, before dropout; in the graph.
        output: (B, H, Nq, d), probabilities times values, before the heads are joined and projected; in the graph.
            None where it was not seen.
        queries: (B, H, Nq, d), or None where they were not seen.
        keys: (B, H, Nk, d), likewise.
        values: (B, H, Nk, d), likewise.
    """

    block: str
    call: int
    index: int
    probabilities: Tensor
    output: Tensor | None = None
    queries: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None


@dataclass
class _Running:
    """A call of a watched module that has not ended yet."""

    block: str
    call: int
    batch: tuple[int, ...]  # what the batch can be, by the shape of the input
    attentions: int = 0


class AttentionRecorder:
    """Records the attention inside some modules during one block; it can be entered once.

    Attributes:
        calls: What was recorded, in the order in which it ran.
        around: For each of them the modules that ran around it, name to which call of it.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], change: Callable[[AttentionCall], Tensor | None] | None = None
    ) -> None:
        """Prepare to record; nothing is changed before the block is entered.

        Args:
            modules: Dotted name to module; an attention belongs to the innermost one that runs.
            change: Takes an attention as it runs, before its output is known, and returns other probabilities that the
                model goes on with, or None to leave it as it is.
        """
        self.calls: list[AttentionCall] = []
        self.around: list[dict[str, int]] = []
        self._modules = dict(modules)
        self._change = change
        self._running: list[_Running] = []
        self._counts = dict.fromkeys(self._modules, 0)
        self._thread = 0
        self._recording = True
        self._stopped = False
        self._stack = contextlib.ExitStack()
        self._watching = contextlib.ExitStack()  # only while one of the modules runs: the rest keeps its fast kernels

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        with contextlib.ExitStack() as stack:
            for handle in self._register():
                stack.callback(handle.remove)
            stack.callback(self._watching.close)
            if self._running:  # a repetition begins inside a module
                self._watch()
            self._stack = stack.pop_all()
        return self

    def _watch(self) -> None:
        self._watching.enter_context(_without_fast_path())
        self._watching.enter_context(_Watch(self))

    def __exit__(self, *_: object) -> None:
        self._recording = False
        self._stack.close()

    def stop(self) -> None:
        """Leave the attention of what runs from now on alone."""
        self._stopped = True

    def remember(self) -> Callable[[], AbstractContextManager[None]]:
        """Return :meth:`repeat` for a part of the forward that begins now, perhaps inside a module that is watched."""
        return partial(self.repeat, tuple(self._running) if threading.get_ident() == self._thread else ())

    @contextlib.contextmanager
    def repeat(self, running: Sequence[_Running] = ()) -> Iterator[None]:
        """Compute attention inside the block as in the recorded forward, and record nothing.

        Args:
            running: The calls of modules that the block is inside of.
        """
        again = AttentionRecorder(self._modules, self._change)
        again._recording = False
        again._running = [replace(one) for one in running]
        with again:
            yield

    def _register(self) -> Iterator[Any]:
        for name, module in self._modules.items():
            yield module.register_forward_pre_hook(self._begin(name), with_kwargs=True)
            yield module.register_forward_hook(self._end, always_call=True)

    def _begin(self, name: str) -> Any:
        def begin(_module: nn.Module, args: Any, kwargs: Any = None) -> None:
            if threading.get_ident() == self._thread:
                if not self._running and not self._stopped:
                    self._watch()
                first = next((tensor for tensor in tensors_in((args, kwargs)) if tensor.ndim > 1), None)
                self._running.append(_Running(name, self._counts[name], () if first is None else tuple(first.shape)))
                self._counts[name] += 1

        return begin

    def _end(self, *_: object) -> None:
        if threading.get_ident() == self._thread and self._running:
            self._running.pop()
            if not self._running:
                self._watching.close()

    @property
    def watches(self) -> bool:
        """Whether this thread runs one of the modules now."""
        return bool(self._running) and not self._stopped and threading.get_ident() == self._thread

    def batch_of(self, rows: int, queries: int) -> int:
        """Return the batch in ``rows``, samples times heads, by the shape of the running module's input."""
        shape = self._running[-1].batch[:2]
        sizes = [size for size in shape if size and rows % size == 0]
        other = [size for size in sizes if size != queries]
        return (other or sizes or [1])[0]

    def choose(self, probabilities: Tensor, **parts: Tensor | None) -> Tensor:
        """Return the probabilities that the model goes on with: these, or other ones in their place."""
        if self._change is None:
            return probabilities
        running = self._running[-1]
        other = self._change(
            AttentionCall(running.block, running.call, running.attentions, probabilities, None, **parts)
        )
        return probabilities if other is None else other.to(probabilities)

    def keep(self, probabilities: Tensor, **parts: Tensor | None) -> int:
        """Record an attention, and return its number among the calls; -1 where nothing is recorded."""
        running = self._running[-1]
        number = running.attentions
        running.attentions += 1
        if not self._recording or is_repetition():
            return -1
        self.calls.append(AttentionCall(running.block, running.call, number, probabilities, **parts))
        self.around.append({one.block: one.call for one in self._running})
        return len(self.calls) - 1

    def add(self, number: int, **parts: Tensor | None) -> None:
        """Add parts to a recorded attention."""
        if number >= 0:
            self.calls[number] = AttentionCall(**{**vars(self.calls[number]), **parts})


class _Watch(TorchFunctionMode):
    """Watches torch's functions for attention."""

    def __init__(self, recorder: AttentionRecorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._factors: dict[int, tuple[weakref.ref[Tensor], Tensor, Tensor]] = {}
        self._probabilities: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._recorder.watches:
            return func(*args, **kwargs)
        if func is _SDPA:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attend_by_module(*args, **kwargs)
        if func in _SOFTMAX:
            return self._softmax(func, args, kwargs)
        if func in _PRODUCTS:
            return self._multiply(func, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and (self._factors or self._probabilities):
            self._pass_on(args, result)
        return result

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002  (torch's own signature)
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: FBT001, FBT002
    ) -> Tensor:
        """Compute what ``scaled_dot_product_attention`` computes, by plain matrix products."""
        if query.ndim != 4:
            return _SDPA(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if enable_gqa:
            key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
            logits = logits.masked_fill(~allowed, float("-inf"))
        if attn_mask is not None:
            logits = (
                logits.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else logits + attn_mask
            )
        probabilities = _softmax_of_masked(logits).to(value.dtype)
        probabilities = _with_graph(self._recorder.choose(probabilities, queries=query, keys=key, values=value))
        dropped = F.dropout(probabilities, dropout_p) if dropout_p else probabilities
        output = dropped @ value
        self._recorder.keep(probabilities, output=output, queries=query, keys=key, values=value)
        return output

    def _attend_by_module(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Run the function behind ``nn.MultiheadAttention`` so that its attention is recorded."""
        bound = _MHA_SIGNATURE.bind(*args, **kwargs)
        bound.apply_defaults()
        wanted, average = bound.arguments["need_weights"], bound.arguments["average_attn_weights"]
        bound.arguments["need_weights"] = False
        whole = {id(bound.arguments[part]): bound.arguments[part].contiguous() for part in ("query", "key", "value")}
        for part in ("query", "key", "value"):  # in one piece their projection is one product, not one for each sample
            bound.arguments[part] = whole[id(bound.arguments[part])]
        first = len(self._recorder.calls)
        with _replaced_attention(self._attend, self._recorder):
            output, _ = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
        if not wanted or len(self._recorder.calls) == first:
            return output, None
        weights = self._recorder.calls[first].probabilities
        weights = weights.mean(1) if average else weights
        return output, weights if bound.arguments["query"].ndim == 3 else weights[0]

    def _multiply(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Multiply, and note what may be logits of attention, or the output of one."""
        left, right = (args[-2:] if func is torch.baddbmm else args[:2]) if len(args) >= 2 else (None, None)
        result: Tensor = func(*args, **kwargs)
        if not isinstance(left, Tensor) or not isinstance(right, Tensor):
            return result
        number = self._find(self._probabilities, left)
        if number is not None and min(right.ndim, result.ndim) >= 3:
            calls = self._recorder.calls
            shape = calls[number].probabilities.shape[:2] if number >= 0 else None
            if shape is not None and calls[number].output is None:
                output = result.reshape(*shape, *result.shape[-2:])
                self._recorder.add(number, output=output, values=right.reshape(*shape, *right.shape[-2:]))
                return output.reshape(result.shape)
        elif left.ndim >= 3 and right.ndim >= 3:
            self._factors[id(result)] = (weakref.ref(result), left, right)
        return result

    def _softmax(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Record the softmax of what was multiplied before, over its last dimension."""
        result: Tensor = func(*args, **kwargs)
        logits = args[0] if args else kwargs.get("input")
        axis = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        factors = self._find(self._factors, logits)
        if factors is None or result.ndim not in {3, 4} or axis not in {-1, result.ndim - 1}:
            return result
        queries, keys = factors[0], factors[1].transpose(-2, -1)
        rows = result.shape[0]
        batch = rows if result.ndim == 4 else self._recorder.batch_of(rows, result.shape[-2])
        heads = result.shape[1] if result.ndim == 4 else rows // batch
        parts = {"queries": _by_head(queries, batch, heads), "keys": _by_head(keys, batch, heads)}
        shaped = _with_graph(self._recorder.choose(result.reshape(batch, heads, *result.shape[-2:]), **parts))
        number = self._recorder.keep(shaped, **parts)
        passed_on = shaped.reshape(result.shape)
        self._probabilities[id(passed_on)] = (weakref.ref(passed_on), number)
        return passed_on

    def _pass_on(self, args: Any, result: Tensor) -> None:
        """Note that a tensor was scaled, masked, cast or reshaped: it stands for the one that it was made of."""
        for known in (self._factors, self._probabilities):
            for part in args:
                if isinstance(part, Tensor) and part.numel() == result.numel() and part.shape[-1:] == result.shape[-1:]:
                    entry = known.get(id(part))
                    if entry is not None and entry[0]() is part:
                        known[id(result)] = (weakref.ref(result), *entry[1:])

    @staticmethod
    def _find(known: dict[int, Any], tensor: Any) -> Any:
        entry = known.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return None
        return entry[1:] if len(entry) > 2 else entry[1]


def _softmax_of_masked(logits: Tensor) -> Tensor:
    """Compute the softmax over the keys; a query that may see none, as of padding, attends to nothing."""
    sees_none = logits.detach().amax(-1, keepdim=True) == float("-inf")
    return logits.masked_fill(sees_none, 0).softmax(-1).masked_fill(sees_none, 0)


def _with_graph(tensor: Tensor) -> Tensor:
    """Return a tensor that a gradient can be taken with respect to."""
    if tensor.requires_grad or not torch.is_grad_enabled():
        return tensor
    return tensor.detach().requires_grad_()


def _by_head(tensor: Tensor, batch: int, heads: int) -> Tensor | None:
    """Bring queries or keys to (B, H, N, d), or None where their shape does not allow it."""
    if tensor.ndim == 4:
        return tensor if tensor.shape[1] == heads else None
    return tensor.reshape(batch, heads, *tensor.shape[-2:]) if tensor.shape[0] == batch * heads else None


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Have ``nn.MultiheadAttention`` call the functions that are watched; without gradients it has one of its own."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _replaced_attention(attend: Callable[..., Tensor], recorder: AttentionRecorder) -> Iterator[None]:
    """Replace torch's attention for this thread; a mode does not see what torch's own Python functions call."""

    def choose(*args: Any, **kwargs: Any) -> Tensor:
        return attend(*args, **kwargs) if recorder.watches else _SDPA(*args, **kwargs)

    F.scaled_dot_product_attention = choose
    try:
        yield
    finally:
        F.scaled_dot_product_attention = _SDPA
