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


@runtime_checkable
class ScoreWithConstants(Protocol):
    """A score that holds something constant: the direction of a shift, the weights of channels, a tensor a sample.

    The same score of other outputs keeps what was held constant when the score was explained.
    """

    def hold(self, output: Any, samples: Tensor) -> Callable[[Any], Tensor]:
        """Return the score of other outputs, with the constants of the output that is explained.

        Args:
            output: What is explained, B samples.
            samples: (R,) int64: for each sample of the other outputs, the index of its constants among the B.

        Returns:
            A function of an output of R samples that gives (R,).
        """


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
