"""Change the kernels of a forward inside a block, and where activation checkpointing repeats that forward.

A checkpointed part of a model runs again in the backward pass, which may come long after the block has ended. It must
then run with the same kernels and the same hooks. Non-reentrant checkpointing makes a frame for each call of such a
part, and the frame holds the function that runs the part again. Frames that are made inside the block hold a function
that restores the changes first. They are freed with the graph: nothing stays in the model or in torch.
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
    """A switch of the whole process that several threads may set; the last request counts.

    If each thread saved and restored the state by itself, the second thread would restore what the first one had set.
    """

    def __init__(self, turn: Context) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._requests: list[tuple[bool, object]] = []
        self._stack: contextlib.ExitStack | None = None

    @property
    def on(self) -> bool:
        return self._stack is not None

    @contextlib.contextmanager
    def set(self, on: bool) -> Iterator[None]:  # noqa: FBT001  (what a switch is set to)
        request = on, object()
        with self._lock:
            self._requests.append(request)
            self._apply()
        try:
            yield
        finally:
            with self._lock:
                self._requests.remove(request)
                self._apply()

    def _apply(self) -> None:
        wanted = bool(self._requests) and self._requests[-1][0]
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


def is_repetition() -> bool:
    """Return whether this thread runs a backward pass, in which checkpointing repeats forwards."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001  (checkpointing itself asks this)


def run_eagerly() -> AbstractContextManager[None]:
    """Run compiled code as plain Python; only then hooks that were added after the compilation run."""
    if "torch._dynamo" not in sys.modules:  # then nothing has been compiled, and importing it takes a second
        return contextlib.nullcontext()
    return _EAGER.set(True)


def math_attention() -> AbstractContextManager[None]:
    """Compute scaled-dot-product attention by plain matrix products, which have a second derivative."""
    return _MATH_ATTENTION.set(True)


class _Contexts(threading.local):
    """The contexts in which what this thread runs now must be repeated."""

    def __init__(self) -> None:
        self.contexts: list[Callable[[], Context]] = []


_CONTEXTS = _Contexts()


@contextlib.contextmanager
def run_repetitions_in(again: Context, remember: Callable[[], Context] | None = None) -> Iterator[None]:
    """Make every later repetition of what is checkpointed inside the block run as the first run did.

    What was checkpointed outside the block runs as it did outside, even if it is repeated inside.

    Args:
        again: Makes the context of such a repetition, in addition to the switches of this module. The graph keeps it,
            so it must not hold anything of the graph. It counts for this thread only.
        remember: Called where a checkpointed part begins, returns ``again`` for this part; None takes ``again`` always.
    """
    make = remember or (lambda: again)
    with _FRAMES.set(True):
        _CONTEXTS.contexts.append(make)
        try:
            yield
        finally:
            _CONTEXTS.contexts.remove(make)


def _keep_state(repeat: Callable[..., None]) -> Callable[..., None]:
    """Make ``repeat`` run under the present switches and contexts."""
    states, makers = [(switch, switch.on) for switch in _CHANGED], list(_CONTEXTS.contexts)
    contexts = [make() for make in makers]

    def run(*inputs: Any) -> None:
        with contextlib.ExitStack() as stack:
            for switch, on in states:
                stack.enter_context(switch.set(on))
            for make, again in zip(makers, contexts, strict=True):
                stack.enter_context(run_repetitions_in(again, make))  # for parts that are checkpointed inside this one
                stack.enter_context(again())
            repeat(*inputs)

    return run


@contextlib.contextmanager
def _frames_that_remember() -> Iterator[None]:
    """Replace the two functions by which torch makes a frame and repeats one.

    Releases of torch with other names are not changed: maps are made there too, and torch raises its own error for a
    checkpointed part that meets other kernels in its repetition.
    """
    if not all(hasattr(checkpoint, name) for name in ("_CheckpointFrame", "_recomputation_hook")):
        yield
        return
    make_frame, repetition = checkpoint._CheckpointFrame, checkpoint._recomputation_hook  # noqa: SLF001

    def remember(repeat: Callable[..., None], *args: Any, **kwargs: Any) -> Any:
        return make_frame(_keep_state(repeat), *args, **kwargs)

    @contextlib.contextmanager
    def begin(*args: Any) -> Iterator[None]:
        """Repeat as if no block were open; a frame that was made inside one restores its own state."""
        with contextlib.ExitStack() as stack:
            for switch in _CHANGED:
                stack.enter_context(switch.set(False))
            stack.enter_context(repetition(*args))
            yield

    for name, replacement in {"_CheckpointFrame": remember, "_recomputation_hook": begin}.items():
        setattr(checkpoint, name, replacement)
    try:
        yield
    finally:
        for name, original in {"_CheckpointFrame": make_frame, "_recomputation_hook": repetition}.items():
            setattr(checkpoint, name, original)


_FRAMES = _Switch(_frames_that_remember)
