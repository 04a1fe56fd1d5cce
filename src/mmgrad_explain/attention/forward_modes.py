"""What a block changes about the operations of a forward, also where activation checkpointing repeats that forward.

A checkpointed part of a model runs again in the backward pass, which may come long after the block has ended. It must
then meet what it met before: the same kernels, the same hooks. Non-reentrant checkpointing makes one frame a call of
such a part, and the frame holds the function that runs the part again. While a block is open, frames are made whose
function runs under what was changed. They go with the graph: nothing is left in the model or in torch.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils import checkpoint

Context = Callable[[], AbstractContextManager[Any]]


class _Switch:
    """A switch of the whole process that several threads may want on; the last wish counts.

    Each thread turning it by itself would leave it turned: the second one to come would put back what the first one had
    set.
    """

    def __init__(self, turn: Context) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._wishes: list[tuple[bool, object]] = []
        self._stack: contextlib.ExitStack | None = None

    @property
    def on(self) -> bool:
        return self._stack is not None

    @contextlib.contextmanager
    def set(self, on: bool) -> Iterator[None]:  # noqa: FBT001  (what a switch is set to)
        wish = on, object()
        with self._lock:
            self._wishes.append(wish)
            self._follow()
        try:
            yield
        finally:
            with self._lock:
                self._wishes.remove(wish)
                self._follow()

    def _follow(self) -> None:
        wanted = bool(self._wishes) and self._wishes[-1][0]
        if wanted and self._stack is None:
            self._stack = contextlib.ExitStack()
            self._stack.enter_context(self._turn())
        elif not wanted and self._stack is not None:
            stack, self._stack = self._stack, None
            stack.close()


def _force_eager() -> AbstractContextManager[Any]:
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _matrix_products() -> AbstractContextManager[Any]:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


_EAGER, _MATH_ATTENTION = _Switch(_force_eager), _Switch(_matrix_products)
_CHANGED = (_EAGER, _MATH_ATTENTION)


def eager() -> AbstractContextManager[None]:
    """Run what torch.compile has compiled as plain Python: hooks added after the compilation fire only so."""
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled, and importing it takes a second
        return contextlib.nullcontext()
    return _EAGER.set(True)


def math_attention() -> AbstractContextManager[None]:
    """Have scaled-dot-product attention computed by plain matrix products, which have a second derivative."""
    return _MATH_ATTENTION.set(True)


class _Again(threading.local):
    """The contexts in which a repetition of what this thread runs now must take place."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []


_AGAIN = _Again()


@contextlib.contextmanager
def repeated_in(again: Context) -> Iterator[None]:
    """Make every later repetition of what is checkpointed inside the block run as the first run did.

    What was checkpointed outside and is repeated inside the block runs as it did outside.

    Args:
        again: Makes the context of such a repetition, beside the switches of this module. The graph keeps it, so it
            must not hold anything of the graph. Only what this thread runs counts.
    """
    with _FRAMES.set(True):
        _AGAIN.contexts.append(again)
        try:
            yield
        finally:
            _AGAIN.contexts.remove(again)


def _as_now(repeat: Callable[..., None]) -> Callable[..., None]:
    """Make ``repeat`` run under what holds now."""
    states, contexts = [(switch, switch.on) for switch in _CHANGED], list(_AGAIN.contexts)

    def run(*inputs: Any) -> None:
        with contextlib.ExitStack() as stack:
            for switch, on in states:
                stack.enter_context(switch.set(on))
            for again in contexts:
                stack.enter_context(repeated_in(again))  # for parts that are checkpointed inside this one
                stack.enter_context(again())
            repeat(*inputs)

    return run


@contextlib.contextmanager
def _frames_that_remember() -> Iterator[None]:
    """Stand in for the two names by which torch makes a frame and repeats one.

    A release of torch that has other names is left alone: maps are made there, and a checkpointed part that meets
    other kernels in its repetition is torch's own error.
    """
    if not all(hasattr(checkpoint, name) for name in ("_CheckpointFrame", "_recomputation_hook")):
        yield
        return
    make_frame, repetition = checkpoint._CheckpointFrame, checkpoint._recomputation_hook  # noqa: SLF001

    def remember(repeat: Callable[..., None], *args: Any, **kwargs: Any) -> Any:
        return make_frame(_as_now(repeat), *args, **kwargs)

    @contextlib.contextmanager
    def begin(*args: Any) -> Iterator[None]:
        """Repeat as if no block were open; a frame that was made inside one then says what holds."""
        with contextlib.ExitStack() as stack:
            for switch in _CHANGED:
                stack.enter_context(switch.set(False))
            stack.enter_context(repetition(*args))
            yield

    for name, stand_in in {"_CheckpointFrame": remember, "_recomputation_hook": begin}.items():
        setattr(checkpoint, name, stand_in)
    try:
        yield
    finally:
        for name, own in {"_CheckpointFrame": make_frame, "_recomputation_hook": repetition}.items():
            setattr(checkpoint, name, own)


_FRAMES = _Switch(_frames_that_remember)
