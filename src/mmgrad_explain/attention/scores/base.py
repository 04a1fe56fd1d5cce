"""What a score is, and a score made of any function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Score(Protocol):
    """A named score: ``score(output)`` gives one number a sample."""

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
