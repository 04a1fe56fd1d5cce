"""Check that maps can be differentiated when they are made, not in the backward pass of a loss on them.

Kernels without a second derivative have a first one, and so have custom functions whose backward is marked
``once_differentiable`` or cuts its graph. The second derivative is missing in the graph of the gradient, which is
searched once for each kind of forward.
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
    """Note the custom functions without a second derivative that a gradient inside the block passes.

    Args:
        score: What is differentiated.
        activations: Where the gradient ends.

    Yields:
        A list of messages, one a function, filled while the gradient is taken.
    """
    faults: list[str] = []
    stops = {activation.grad_fn for activation in activations}
    with contextlib.ExitStack() as stack:
        for node in _nodes([score.grad_fn], stops):
            if hasattr(node, "_forward_cls"):
                stack.callback(node.register_hook(_make_hook(node, faults)).remove)
        yield faults


def check_twice_differentiable(score: Tensor, gradients: Collection[Tensor | None], faults: Sequence[str] = ()) -> None:
    """Raise GradientError where a gradient depends on an operation that cannot be differentiated.

    Args:
        score: What was differentiated.
        gradients: The gradients at the layers, with their graph.
        faults: The list of :func:`watch_functions`.
    """
    if faults:
        raise GradientError(f"{faults[0]}: {_WAY_OUT}")
    tried: set[str] = set()
    of_forward = set(_nodes([score.grad_fn], set()))
    for node in _nodes([gradient.grad_fn for gradient in gradients if gradient is not None], of_forward):
        name = node.name()
        if name in tried or not (name.endswith(("NotImplemented", "Error")) or _is_of_a_gradient(node)):
            continue
        tried.add(name)
        message = _run_backward(node)
        if "scaled_dot_product" in message:
            raise GradientError(f"the gradient of fused attention cannot be differentiated again: {MATH_ATTENTION}")
        if message:
            raise GradientError(
                f"an operation between layer and score cannot be differentiated twice ({message}): {_WAY_OUT}"
            )


def refuse_constant(maps: Sequence[Tensor], maker: str) -> None:
    """Raise GradientError where a loss on maps that should be differentiable would train nothing.

    Args:
        maps: The maps.
        maker: Name of the argument or function that made them.
    """
    if any(grid.requires_grad for grid in maps):
        return
    raise GradientError(
        f"create_graph=True: a loss on the maps would train nothing, because {maker} returns them without a graph: use "
        "only operations of torch there (no .detach(), .data or NumPy), or leave create_graph out"
    )


def _nodes(starts: Iterable[Any], stops: Collection[Any]) -> Iterator[Any]:
    """Yield every node of a graph below some nodes once, without the stops and what lies only below them."""
    todo = [node for node in starts if node is not None and node not in stops]
    visited = set(todo)
    while todo:
        node = todo.pop()
        yield node
        fresh = {child for child, _ in node.next_functions if child is not None and child not in stops} - visited
        visited |= fresh
        todo.extend(fresh)


def _make_hook(node: Any, faults: list[str]) -> Any:
    function = node._forward_cls  # noqa: SLF001  (there is no public way from a node to its function)
    marked = getattr(function.backward, "__globals__", {}).get("__name__") == "torch.autograd.function"

    def hook(outputs: Sequence[Tensor | None], inputs: Sequence[Tensor | None]) -> None:
        kept = _find_kept(node)
        has_graph = any(x is not None and x.requires_grad for x in inputs)
        cut = any(x is not None and not x.requires_grad and bool(x.count_nonzero()) for x in outputs)
        why = ""
        if marked and (has_graph or kept is None or kept):
            why = "is marked once_differentiable"
        elif has_graph and cut:
            why = "returns a gradient without a graph"
        elif not marked and kept and _treats_as_constant(node, kept, inputs):
            why = "treats what it kept of the forward as constant"
        if why:
            faults.append(f"{function.__qualname__} cannot be differentiated twice, its backward {why}")

    return hook


def _find_kept(node: Any) -> dict[Any, Tensor] | None:
    """Return the tensors of the graph that a function has kept, by index or attribute; None where they are gone."""
    try:
        saved = dict(enumerate(node.saved_tensors)) | vars(node)
    except RuntimeError:  # unpacked already (activation checkpointing) or freed
        return None
    return {key: x for key, x in saved.items() if isinstance(x, Tensor) and x.requires_grad}


class _Context:
    """The context of a function, with some of its kept tensors replaced."""

    def __init__(self, node: Any, instead: Mapping[Any, Tensor]) -> None:
        self._node = node
        self.saved_tensors = tuple(instead.get(index, x) for index, x in enumerate(node.saved_tensors))
        for name in (key for key in instead if isinstance(key, str)):
            setattr(self, name, instead[name])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


def _treats_as_constant(node: Any, kept: Mapping[Any, Tensor], inputs: Sequence[Tensor | None]) -> bool:
    """Return whether a backward depends on a kept tensor without a graph to it: scaling the tensor changes most values.

    A backward that masks by a kept tensor (ReLU, rounding, clamping) hardly changes when the tensor is scaled, and
    there is nothing to differentiate.
    """
    metadata = node._input_metadata  # noqa: SLF001  (autograd itself checks it)
    whole = [
        torch.zeros(meta.shape, dtype=meta.dtype, device=meta.device) if gradient is None else gradient.detach()
        for gradient, meta in zip(inputs, metadata, strict=True)
    ]
    return any(_is_constant(node, key, tensor, whole) for key, tensor in kept.items())


def _is_constant(node: Any, key: Any, tensor: Tensor, whole: Sequence[Tensor]) -> bool:
    start = tensor.detach().requires_grad_()
    try:
        first, scaled = (
            _list_tensors(node._forward_cls.backward(_Context(node, {key: x}), *whole))  # noqa: SLF001
            for x in (start, tensor.detach() * 1.01)
        )
        with_graph = [x.sum() for x in first if x.requires_grad]
        if with_graph and torch.autograd.grad(with_graph, start, allow_unused=True)[0] is not None:
            return False
    except Exception:  # noqa: BLE001  (a function that cannot be run like this is not judged)
        return False
    return any(_differ(x, other) for x, other in zip(first, scaled, strict=True))


def _list_tensors(outputs: Any) -> list[Tensor]:
    return [x for x in (outputs if isinstance(outputs, tuple) else (outputs,)) if isinstance(x, Tensor)]


def _differ(x: Tensor, other: Tensor) -> bool:
    """Return whether two tensors differ in most of the places where the first is not zero."""
    count = x.detach().count_nonzero()
    return bool(count) and bool((x.detach() != other.detach()).sum() > 0.5 * count)


def _is_of_a_gradient(node: Any) -> bool:
    """Return whether a node may have been made by a backward pass of an operation without a second derivative."""
    return hasattr(node, "_forward_cls") or "CppNode" in node.name() or _OF_A_GRADIENT.search(node.name()) is not None


def _run_backward(node: Any) -> str:
    """Run one step of a backward pass on zeros, and return the first line of the error, if there is one."""
    is_custom = hasattr(node, "_forward_cls")
    zeros = [
        torch.zeros(meta.shape, dtype=meta.dtype, device=meta.device)
        for meta in node._input_metadata  # noqa: SLF001  (autograd itself checks it)
    ]
    try:
        (node.apply if is_custom else node)(*zeros)
    except Exception as error:  # noqa: BLE001  (a loss would meet any error)
        first = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        # A step of torch itself may fail on zeros, or because all of its outputs are wanted at once.
        builtin = _OF_A_GRADIENT.search(node.name()) is not None and not is_custom
        return "" if builtin and "not implemented" not in first else first
    return ""
