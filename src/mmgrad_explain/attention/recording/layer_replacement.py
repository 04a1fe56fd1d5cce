"""Replace what a layer returns in one of its calls, so that the model goes on with other values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.running.structures import map_tensors, unique_paths_in
from mmgrad_explain.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn


def find_path(module: nn.Module, call: int, values: Tensor, run: Callable[[], object]) -> str:
    """Find where in the output of a layer a tensor with these values lies; ``""`` where the output is the tensor.

    Args:
        module: The layer.
        call: Which call of the layer.
        values: What the tensor held in an earlier run.
        run: Runs the model on the same inputs.

    Raises:
        CaptureError: the layer returned no such tensor: the model is not the same in two runs.
    """
    found: list[str] = []
    count = 0

    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal count
        if count == call:
            parts = {path: part for path, part in unique_paths_in(output).items() if part.shape == values.shape}
            close = [path for path, part in parts.items() if torch.allclose(part, values, rtol=1e-3, atol=1e-5)]
            found.extend(close)
        count += 1

    handle = module.register_forward_hook(look)
    try:
        run()
    finally:
        handle.remove()
    if not found:
        raise CaptureError(
            f"call {call} of the layer returned other values for the same inputs in a second run: its output cannot be "
            "replaced; choose another layer, or a method of one forward"
        )
    return found[0]


@contextlib.contextmanager
def replaced_output(module: nn.Module, call: int, path: str, values: Tensor) -> Iterator[None]:
    """Have a layer return other values in one of its calls inside the block.

    Args:
        module: The layer.
        call: Which call of the layer inside the block.
        path: Where in the output they lie, from :func:`find_path`.
        values: What is returned there; the batch may be another one.
    """
    count = 0

    def replace(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal count
        count += 1
        if count - 1 != call:
            return None
        wanted = unique_paths_in(output)[path]
        return map_tensors(output, lambda tensor: values if tensor is wanted else tensor)

    handle = module.register_forward_hook(replace, prepend=True)  # before hooks that keep outputs for the model's use
    try:
        yield
    finally:
        handle.remove()
