"""Find the modules of a model that give the same whatever the tokens of an image are, such as those of a text tower."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.running.structures import map_tensors, tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass
class RecordedModules:
    """What modules returned in a forward.

    Attributes:
        outputs: Module to what it returned, one a call.
        inside: Module to the modules that were running around it, one set a call.
    """

    outputs: dict[nn.Module, list[Any]] = field(default_factory=dict)
    inside: dict[nn.Module, list[frozenset[nn.Module]]] = field(default_factory=dict)
    _running: list[nn.Module] = field(default_factory=list)
    _versions: list[tuple[nn.Module, Tensor, int]] = field(default_factory=list)

    @contextlib.contextmanager
    def recording(self, root: nn.Module) -> Iterator[None]:
        """Record a forward inside the block: all modules but the model itself."""
        with contextlib.ExitStack() as stack:
            for module in root.modules():
                if module is not root:
                    stack.callback(module.register_forward_pre_hook(self._begin).remove)
                    stack.callback(module.register_forward_hook(self._end).remove)
            yield
        changed = {module for module, tensor, version in self._versions if tensor._version != version}  # noqa: SLF001
        for module in changed:  # in place, after it was returned
            self.outputs.pop(module, None)

    def _begin(self, module: nn.Module, _args: Any) -> None:
        self.inside.setdefault(module, []).append(frozenset(self._running))
        self._running.append(module)

    def _end(self, module: nn.Module, _args: Any, output: Any) -> None:
        self._running.pop()
        self.outputs.setdefault(module, []).append(output)
        self._versions += [(module, tensor, tensor._version) for tensor in tensors_in(output)]  # noqa: SLF001


def find_steady_modules(
    root: nn.Module, forwards: Sequence[Callable[[], object]], batch: int
) -> dict[nn.Module, list[Any]]:
    """Find the outermost modules that return the same in all forwards, and for which samples can be repeated.

    Args:
        root: The model.
        forwards: Functions that run it on the same inputs, with other tokens of the image somewhere inside.
        batch: How many samples the inputs have.

    Returns:
        Module to what it returns, one a call. A module that is called both inside and outside another of them is left
        out, since its calls would be counted anew.
    """
    runs = [RecordedModules() for _ in forwards]
    for run, forward in zip(runs, forwards, strict=True):
        with run.recording(root):
            forward()
    first, *others = runs
    steady = {
        module
        for module, outputs in first.outputs.items()
        if all(_are_equal(outputs, other.outputs.get(module, [])) for other in others)
        and all(_batch_axes(module, output, batch) is not None for output in outputs)
    }
    return {
        module: first.outputs[module]
        for module in steady
        if not any(around & steady for run in runs for around in run.inside[module])
    }


def repeat_outputs(outputs: Mapping[nn.Module, Sequence[Any]], times: int, batch: int) -> dict[nn.Module, list[Any]]:
    """Repeat what modules returned for samples that are repeated, one batch after the other.

    Args:
        outputs: From :func:`find_steady_modules`.
        times: How many batches there are.
        batch: How many samples a batch has.
    """

    def repeat(module: nn.Module, output: Any) -> Any:
        axes = iter(_batch_axes(module, output, batch) or ())

        def repeat_one(tensor: Tensor) -> Tensor:
            axis = next(axes)
            return tensor.repeat([times if at == axis else 1 for at in range(tensor.ndim)])

        return map_tensors(output, repeat_one)

    return {module: [repeat(module, output) for output in calls] for module, calls in outputs.items()}


def _batch_axes(module: nn.Module, output: Any, batch: int) -> list[int] | None:
    """Return the axis of the samples of each tensor that a module returned; None where that cannot be told."""
    shapes = [tensor.shape for tensor in tensors_in(output)]
    axes = [0] * len(shapes)
    if isinstance(module, nn.RNNBase):  # what it returns for each place, and its last states (layers, B, D)
        axes = [0 if module.batch_first else 1, *[1] * (len(shapes) - 1)]
    fits = all(len(shape) > axis and shape[axis] == batch for shape, axis in zip(shapes, axes, strict=True))
    return axes if shapes and fits else None


def _are_equal(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether two lists of outputs hold the same numbers."""
    if len(first) != len(second):
        return False
    pairs = [(list(tensors_in(one)), list(tensors_in(other))) for one, other in zip(first, second, strict=True)]
    return all(
        len(one) == len(other) and all(map(torch.equal, one, other)) for one, other in pairs
    )  # fmt: skip
