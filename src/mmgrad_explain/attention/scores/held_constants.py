"""Scores of changed inputs with the constants of the original ones.

A score may hold a part of the output constant: ``<d, stop_gradient(d)>`` has the gradient of the projection on the
direction ``d`` of the explained output. Computed anew for a changed image or a shorter text it would be the squared
length of another ``d``, which can grow where the projection falls. So for changed inputs the constants keep the values
that they had. A score's own tensor with one row a sample, such as target embeddings, is a constant as well where the
score detaches it: each changed sample is scored with the row of its original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable

_STOPS = (Tensor.detach, torch.detach, Tensor.data.__get__)  # type: ignore[attr-defined]
"""What takes a tensor out of the graph, as functions that a TorchFunctionMode sees."""


class HeldConstants:
    """A score whose stop-gradients (``detach()``, ``.data``) keep the values that they had for one output.

    Attributes:
        score: (B,), or as the scorer gives it, the score of that output.
    """

    def __init__(self, scorer: Callable[[Any], Tensor], output: Any) -> None:
        """Compute the score of an output, and keep what it holds constant.

        Args:
            scorer: Takes an output and returns (B,).
            output: The output of the model for the original inputs.
        """
        self._scorer = scorer
        self._constants: list[Tensor] = []
        with torch.no_grad(), _Recording(self._constants):
            self.score = scorer(output)

    def __call__(self, output: Any, index: Tensor | None = None) -> Tensor:
        """Compute the scores of another output; gradients pass everything but what is held constant.

        Args:
            output: The output for changed inputs.
            index: (N,), the original sample of each sample of this output; None if they are the same samples. A
                constant with B rows is taken to have one a sample.
        """
        count = self.score.numel()

        def rows(constant: Tensor) -> Tensor:
            if index is None or not constant.ndim or len(constant) != count:
                return constant
            return constant[index.to(constant.device)]

        constants = [rows(constant) for constant in self._constants]
        with _Replaying(constants):
            return self._scorer(output)


class _Recording(TorchFunctionMode):
    """Keeps every tensor that is taken out of the graph inside the block."""

    def __init__(self, constants: list[Tensor]) -> None:
        super().__init__()
        self._constants = constants

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in _STOPS:
            self._constants.append(found)
        return found


class _Replaying(TorchFunctionMode):
    """Returns the kept tensors instead, in their order."""

    def __init__(self, constants: list[Tensor]) -> None:
        super().__init__()
        self._left = iter(constants)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return next(self._left, found) if func in _STOPS else found
