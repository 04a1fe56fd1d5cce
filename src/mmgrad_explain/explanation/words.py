"""What a word of the text contributes to the score: the record of one word."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word and what it contributes to the score.

    Attributes:
        text: The word as it was written.
        value: What the score loses without the word, in units of the score; signed, positive where the word raises the
            score. By the gradient: the sum over its tokens of gradient x input.
        scaled: ``value`` divided by the largest magnitude in its text, in [-1, 1].
        positions: Positions of its tokens in the model's input.
    """

    text: str
    value: float
    scaled: float
    positions: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under the names of the manifest, ready for JSON."""
        return {"word": self.text, "value": self.value, "scaled": self.scaled, "tokens": list(self.positions)}
