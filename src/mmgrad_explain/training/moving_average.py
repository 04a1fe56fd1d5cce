"""A moving average of a model's weights."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.user_files import reading
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn


class MovingAverage:
    """``average = d * average + (1 - d) * weights`` after every step, with ``d = min(decay, (1 + t) / (10 + t))``.

    Trained weights and floating-point buffers are averaged. In the first steps the average follows closely.
    Weights that are frozen later stand in the average as they are.

    Args:
        module: The module with these weights.
        decay: The largest ``d``, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._module = module
        self._trained = frozenset(name for name, one in module.named_parameters() if one.requires_grad)
        self._average = {name: value.detach().clone() for name, value in self._weights()}

    def _weights(self) -> list[tuple[str, Tensor]]:
        buffers = [(name, one) for name, one in self._module.named_buffers() if one.is_floating_point()]
        return [(name, one) for name, one in self._module.named_parameters() if name in self._trained] + buffers

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of a step to the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, value in self._weights():
            average = self._average[name]
            if average.device != value.device:
                average = self._average[name] = average.to(value.device)
            frozen = name in self._trained and not value.requires_grad
            average.lerp_(value, 1.0 if frozen else 1 - decay)

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Let the module use the average as its weights inside the block."""
        own = {name: value.detach().clone() for name, value in self._weights()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in self._weights():
            value.copy_(values[name])

    def save(self, path: Path) -> None:
        """Write the average to a file, whole or not at all."""
        from safetensors.torch import save

        with atomic_file(path, overwrite=True) as stream:
            stream.write(save({name: v.contiguous() for name, v in self._average.items()}, {"steps": str(self.steps)}))

    def load(self, path: Path) -> None:
        """Read a file that :meth:`save` wrote.

        Raises:
            InputError: If the file is missing, damaged, or of another model.
        """
        from safetensors import safe_open

        with reading(f"{path} cannot be read"), safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            steps = int(file.metadata()["steps"])
        if {n: v.shape for n, v in found.items()} != {n: v.shape for n, v in self._average.items()}:
            raise InputError(f"{path} holds the average of another model")
        self._average, self.steps = found, steps
