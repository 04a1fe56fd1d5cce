"""Replace the output of a layer by a clone, so that a gradient can be taken with respect to the output."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.running.forward_modes import is_repetition
from mmgrad_explain.attention.running.structures import map_tensors, unique_paths_in
from mmgrad_explain.errors import CaptureError, GradientError

_REENTRANT = (
    "reentrant activation checkpointing hides what happens inside from gradients: pass use_reentrant=False to "
    "torch.utils.checkpoint, or switch checkpointing off"
)


@dataclass(frozen=True)
class LayerTap:
    """What is done to the outputs of layers, in a forward and where checkpointing repeats that forward.

    It holds no records: the graph keeps the tap alive, so that records in it would keep the graph alive.

    Attributes:
        layers: Name to module.
        parts: Name to the part of the layer's output that is recorded; empty for all of it.
        force_grad: Turn gradients on at the layer.
        min_dims: How many dimensions a recorded output has at least.
        record_clone: Record the clone that is passed on instead of the layer's own output.
    """

    layers: Mapping[str, nn.Module]
    parts: Mapping[str, str]
    force_grad: bool
    min_dims: int
    record_clone: bool

    def split(self, name: str, output: Any) -> tuple[dict[str, tuple[Tensor, Tensor]], Any] | None:
        """Return the tensors to record by their path in the output, each with its clone, and the output to pass on.

        None where there is nothing that a map could be made of.
        """
        parts = {p: t for p, t in unique_paths_in(output).items() if t.is_floating_point() and t.ndim >= self.min_dims}
        if not parts:
            return None
        enable_grad(name, force=self.force_grad)
        if self.parts[name]:
            parts = {"": _find_part(name, self.parts[name], parts, output)}
        recorded = {path: self._clone(tensor) for path, tensor in parts.items()}
        clones = {id(parts[path]): clone for path, (_, clone) in recorded.items()}
        return recorded, map_tensors(output, lambda tensor: clones.get(id(tensor), tensor))

    def _clone(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        activation = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        if self.record_clone and activation is tensor:
            activation = tensor.clone()
        return activation, activation.clone()

    @contextlib.contextmanager
    def repeat(self) -> Iterator[None]:
        """Replace the outputs of the layers inside the block as before, and record nothing."""
        with contextlib.ExitStack() as stack:
            for name, layer in self.layers.items():
                stack.callback(layer.register_forward_hook(self._hook_for(name), prepend=True).remove)
            yield

    def _hook_for(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if not is_repetition():  # another thread's forward
                return None
            tapped = self.split(name, output)
            return None if tapped is None else tapped[1]

        return hook


def enable_grad(name: str | None, *, force: bool) -> None:
    """Turn gradients on where a layer runs without them, or raise GradientError where that cannot help.

    Args:
        name: Of the layer; None before a block that may end before the layer runs.
        force: Whether to turn them on.
    """
    where = f"layer {name!r} runs" if name else "the target layer runs"
    if torch.is_inference_mode_enabled():
        if name is None:
            return
        raise GradientError(
            f"{where} inside a torch.inference_mode() block of the model's own, which cannot be undone from "
            "outside: use torch.no_grad() there"
        )
    if torch.is_grad_enabled():
        return
    if _is_inside_reentrant_checkpoint():
        raise GradientError(f"{where} inside a checkpoint; {_REENTRANT}")
    if force:
        torch.set_grad_enabled(True)  # until the model's own no_grad block ends and restores the mode before it


def _find_part(name: str, path: str, parts: Mapping[str, Tensor], output: Any) -> Tensor:
    if path in parts:
        return parts[path]
    if not isinstance(output, Mapping) and path.startswith("[-"):  # counted from the end
        counted = path[1:].partition("]")[0]
        positive = f"[{len(output) + int(counted)}]" if counted[1:].isdigit() and hasattr(output, "__len__") else path
        if (found := positive + path[path.index("]") + 1 :]) in parts:
            return parts[found]
    choices = f"it has {', '.join(parts)}" if "" not in parts else "it gives one tensor; name the layer alone"
    raise CaptureError(f"layer {name.removesuffix(path)!r} has no part {path}: {choices}")


def _is_inside_reentrant_checkpoint() -> bool:
    frame = sys._getframe()  # noqa: SLF001  (there is no other way to find out)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "forward" and frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            return True
    return False
