"""Whether maps can be differentiated: found when they are made, not in the backward pass of a loss on them.

Kernels without a second derivative, and functions of one's own whose backward is marked ``once_differentiable`` or cuts
its graph, have a gradient like any other. What is missing shows in the graph of that gradient, which is looked through
once for a model.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.errors import GradientError

MATH_ATTENTION = (
    "run the model's forward inside mmgrad.capture(math_attention=True) or "
    "torch.nn.attention.sdpa_kernel(SDPBackend.MATH), or build it with attn_implementation='eager'"
)
_WAY_OUT = (
    "write its backward in operations of torch that can be differentiated, replace the operation in training, choose a "
    "layer after it, or call attend without create_graph=True"
)
_OF_A_GRADIENT = re.compile(r"Backward\w*Backward\d*$")  # the derivative of an operation that is a gradient itself


@contextlib.contextmanager
def watch_functions(score: Tensor, activations: Iterable[Tensor]) -> Iterator[list[str]]:
    """Note which functions of one's own have no second derivative, of those that a gradient inside the block passes.

    Args:
        score: What is differentiated.
        activations: Where the gradient ends.

    Yields:
        What is wrong with them, filled while the gradient is taken.
    """
    faults: list[str] = []
    stops = {one.grad_fn for one in activations}
    with contextlib.ExitStack() as stack:
        for node in _nodes([score.grad_fn], stops):
            if hasattr(node, "_forward_cls"):
                stack.callback(node.register_hook(_hook_for(node, faults)).remove)
        yield faults


def check_twice_differentiable(score: Tensor, gradients: Collection[Tensor | None], faults: Sequence[str] = ()) -> None:
    """Raise GradientError where a gradient that should be differentiable hangs on an operation that is not.

    Args:
        score: What was differentiated.
        gradients: At the layers, with their graph.
        faults: What :func:`watch_functions` noted.
    """
    if faults:
        raise GradientError(f"{faults[0]}: {_WAY_OUT}")
    tried: set[str] = set()
    of_forward = set(_nodes([score.grad_fn], set()))
    for node in _nodes([one.grad_fn for one in gradients if one is not None], of_forward):
        name = node.name()
        if name in tried or not (name.endswith(("NotImplemented", "Error")) or _is_of_a_gradient(node)):
            continue
        tried.add(name)
        message = _try(node)
        if "scaled_dot_product" in message:
            raise GradientError(f"the gradient of fused attention cannot be differentiated again: {MATH_ATTENTION}")
        if message:
            raise GradientError(
                f"an operation between layer and score cannot be differentiated twice ({message}): {_WAY_OUT}"
            )


def refuse_constant(maps: Sequence[Tensor], maker: str) -> None:
    """Raise GradientError where a loss on maps that should be differentiable would train nothing.

    Args:
        maps: Just made.
        maker: What made them.
    """
    if any(one.requires_grad for one in maps):
        return
    raise GradientError(
        f"create_graph=True: a loss on the maps would train nothing, because {maker} gives them without a graph: stay "
        "in operations of torch there (no .detach(), .data or NumPy), or leave create_graph out"
    )


def _nodes(starts: Iterable[Any], stops: Collection[Any]) -> Iterator[Any]:
    """Give every node of a graph below some, once; neither the stops nor what lies below them alone."""
    todo = [node for node in starts if node is not None and node not in stops]
    met = set(todo)
    while todo:
        node = todo.pop()
        yield node
        fresh = {one for one, _ in node.next_functions if one is not None and one not in stops} - met
        met |= fresh
        todo.extend(fresh)


def _hook_for(node: Any, faults: list[str]) -> Any:
    function = node._forward_cls  # noqa: SLF001  (there is no other way from a node to its function)
    marked = getattr(function.backward, "__globals__", {}).get("__name__") == "torch.autograd.function"

    def hook(gives: Sequence[Tensor | None], given: Sequence[Tensor | None]) -> None:
        kept = _kept(node)
        hangs = any(one is not None and one.requires_grad for one in given)
        cut = any(one is not None and not one.requires_grad and bool(one.count_nonzero()) for one in gives)
        why = ""
        if marked and (hangs or kept is None or kept):
            why = "is marked once_differentiable"
        elif hangs and cut:
            why = "gives a gradient without a graph"
        elif not marked and kept and _takes_as_constant(node, kept, given):
            why = "takes what it kept of the forward as constant"
        if why:
            faults.append(f"{function.__qualname__} cannot be differentiated twice, its backward {why}")

    return hook


def _kept(node: Any) -> dict[Any, Tensor] | None:
    """What a function has kept of the graph, by index or attribute; None where it is there no more."""
    try:
        every = dict(enumerate(node.saved_tensors)) | vars(node)
    except RuntimeError:  # unpacked before (activation checkpointing) or freed
        return None
    return {key: one for key, one in every.items() if isinstance(one, Tensor) and one.requires_grad}


class _Context:
    """The context of a function, with other tensors in the place of those that it has kept."""

    def __init__(self, node: Any, instead: Mapping[Any, Tensor]) -> None:
        self._node = node
        self.saved_tensors = tuple(instead.get(index, one) for index, one in enumerate(node.saved_tensors))
        for name in (key for key in instead if isinstance(key, str)):
            setattr(self, name, instead[name])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


def _takes_as_constant(node: Any, kept: Mapping[Any, Tensor], given: Sequence[Tensor | None]) -> bool:
    """Say whether a backward gives something else for most places once a kept tensor is scaled, but no graph to it.

    Where the backward is a mask of what was kept (ReLU, rounding, clamping), scaling changes nothing or little, and
    there is nothing to differentiate.
    """
    metadata = node._input_metadata  # noqa: SLF001  (what autograd itself checks)
    whole = [
        torch.zeros(one.shape, dtype=one.dtype, device=one.device) if gradient is None else gradient.detach()
        for gradient, one in zip(given, metadata, strict=True)
    ]
    return any(_is_constant(node, key, tensor, whole) for key, tensor in kept.items())


def _is_constant(node: Any, key: Any, tensor: Tensor, whole: Sequence[Tensor]) -> bool:
    start = tensor.detach().requires_grad_()
    try:
        first, moved = (
            _tensors(node._forward_cls.backward(_Context(node, {key: one}), *whole))  # noqa: SLF001
            for one in (start, tensor.detach() * 1.01)
        )
        hanging = [one.sum() for one in first if one.requires_grad]
        if hanging and torch.autograd.grad(hanging, start, allow_unused=True)[0] is not None:
            return False
    except Exception:  # noqa: BLE001  (a function that cannot be run so is not judged)
        return False
    return any(_differ(one, other) for one, other in zip(first, moved, strict=True))


def _tensors(given: Any) -> list[Tensor]:
    return [one for one in (given if isinstance(given, tuple) else (given,)) if isinstance(one, Tensor)]


def _differ(one: Tensor, other: Tensor) -> bool:
    """Say whether most of two tensors differs, of the places where they are not zero."""
    there = one.detach().count_nonzero()
    return bool(there) and bool((one.detach() != other.detach()).sum() > 0.5 * there)


def _is_of_a_gradient(node: Any) -> bool:
    """Say whether a node may be what a backward pass made of an operation that has no second derivative."""
    return hasattr(node, "_forward_cls") or "CppNode" in node.name() or _OF_A_GRADIENT.search(node.name()) is not None


def _try(node: Any) -> str:
    """Run one step of a backward pass on zeros, for nothing; give the first line of what torch says it cannot do."""
    own = hasattr(node, "_forward_cls")
    zeros = [
        torch.zeros(one.shape, dtype=one.dtype, device=one.device)
        for one in node._input_metadata  # noqa: SLF001  (what autograd itself checks)
    ]
    try:
        (node.apply if own else node)(*zeros)
    except Exception as error:  # noqa: BLE001  (whatever it is, a loss would meet it)
        first = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        # A step of torch's own may dislike zeros, or all of its outputs asked at once.
        builtin = _OF_A_GRADIENT.search(node.name()) is not None and not own
        return "" if builtin and "not implemented" not in first else first
    return ""
