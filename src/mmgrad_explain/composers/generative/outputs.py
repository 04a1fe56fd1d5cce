"""What a generative model gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class GenerativeOutput(NamedTuple):
    """A generative model's logits for an answer.

    Attributes:
        logits: At the last positions of the sequence, for the token that follows, ``(B, A + 1, V)``.
        labels: The answer's token ids at these positions, -100 for tokens that do not count, ``(B, A + 1)``.
    """

    logits: Tensor
    labels: Tensor
