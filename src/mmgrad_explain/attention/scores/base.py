"""What a score is, and a score made of any function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Score(Protocol):
    """A named score: ``score(output)`` gives one number a sample.

    What it holds constant it takes through ``detach()``: the direction of a shift, the weights of channels, also a
    tensor of its own with one row a sample. So the same constants can be kept where changed inputs are scored
    (:mod:`~mmgrad_explain.attention.scores.held_constants`).
    """

    @property
    def name(self) -> str:
        """The name of this score in the result."""

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,), differentiable with respect to the output."""


class NamedScore(Score, Protocol):
    """A score that is chosen by its name."""

    def fits(self, output: Any) -> bool:
        """Return whether the output holds what this score needs."""


@dataclass(frozen=True)
class CallableScore:
    """Any function of the output, with a name.

    Attributes:
        function: Takes the model's output and returns (B,).
        name: The name of the score in the result.
    """

    function: Callable[[Any], Any]
    name: str

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,).

        Raises:
            TypeError: the function does not return a tensor.
        """
        value = self.function(output)
        if not isinstance(value, Tensor):
            raise TypeError(f"score must return a tensor with one number a sample, not {type(value).__name__}")
        return value
