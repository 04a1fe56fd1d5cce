"""Leave each word out of its text, one after the other, and see what the score loses.

The value of word ``w`` in text ``T`` is ``s(T) - s(T without w)``: exact, with no approximation. Source: occlusion of
single features, Zeiler & Fergus, arXiv 1311.2901; for words "erasure", Li et al., arXiv 1612.08220. What a score holds
constant (the direction of a shift, the weights of channels) stays what it is for the whole text
(:mod:`~mmgrad_explain.attention.scores.held_constants`): for the score ``shift`` the value is
``<d, d> - <d', d>``, the part of the text's change that is lost.

Texts run in batches, and the whole texts run again beside them. Where their score is not the one that is explained, the
model or the score does not treat each sample by itself; then nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.attention.scores.base import CallableScore
from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.attention.scores.base import Score

Row = tuple[int, int | None]
"""A sample, and the word that is left out of its text; None for the whole text."""

_LONG = 64  # from this many texts on, a bar shows the progress


class CannotLeaveOutError(InputError):
    """Words cannot be left out of the texts of this call."""


class ShorterTexts(Protocol):
    """The texts of a call, from which words can be left out.

    Attributes:
        in_rounds: Whether only B samples can run together, each with its own image.
        of_one_word: The samples of whose text nothing is left without its only word.
    """

    in_rounds: bool
    of_one_word: frozenset[int]

    def batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Part rows into those that run together."""

    def run(self, rows: Sequence[Row]) -> Sequence[Any]:
        """Run the model on these rows.

        Returns:
            One output for each score that is explained.

        Raises:
            CannotLeaveOutError: these rows cannot run together, or a word cannot be left out.
        """


class HeldScores:
    """The scores of K outputs of one forward, and how they are computed for other rows.

    Attributes:
        values: (K, B), what is explained.
        by_sample: Whether only B samples at a time can be scored: a caller's function may hold something of each.
    """

    def __init__(self, scorer: Score, outputs: Sequence[Any], values: Tensor) -> None:
        """Remember what is explained.

        Args:
            scorer: The score.
            outputs: The K outputs.
            values: (K, B).
        """
        self._each = [HeldConstants(scorer, output) for output in outputs]
        self.values = values.detach()
        self.by_sample = isinstance(scorer, CallableScore)

    def of(self, outputs: Sequence[Any], rows: Sequence[Row]) -> Tensor:
        """Compute the scores (K, R) of other outputs, in float64.

        Raises:
            CannotLeaveOutError: the score is not one number a row.
        """
        samples = torch.tensor([sample for sample, _ in rows], device=self.values.device)
        found = []
        for output, score in zip(outputs, self._each, strict=True):
            value = score(output, samples)
            if not isinstance(value, Tensor) or value.numel() != len(rows):
                raise CannotLeaveOutError("the score is not one number for each text")
            found.append(value.detach().reshape(-1).double().cpu())
        return torch.stack(found)


@torch.no_grad()
def leave_each_out(texts: ShorterTexts, scores: HeldScores, counts: Sequence[int]) -> list[list[list[float]]]:
    """Measure what each score loses when a word is left out.

    Args:
        texts: The texts of the call.
        scores: What is explained.
        counts: How many words to leave out of each text, one by one: all that it has, or none.

    Returns:
        For each score and sample the value of each word, in units of the score.

    Raises:
        CannotLeaveOutError: a word cannot be left out, or the model gives another score when it is run again.
    """
    whole: list[Row] = [(sample, None) for sample in range(len(counts))]
    shorter: list[Row] = [(sample, word) for sample, count in enumerate(counts) for word in range(count)]
    found: dict[Row, Tensor] = {}
    together = None if texts.in_rounds or scores.by_sample else texts.batches([*whole, *shorter])
    with Bar() as bar:
        for rows in _rounds(counts) if together is None else together:
            values = scores.of(texts.run(rows), rows)
            found |= dict(zip(rows, values.unbind(1), strict=True))
            if len(shorter) >= _LONG:
                bar.show("words left out", len(found) - len(whole), len(shorter))
    _check_repeats(scores.values, found, whole)
    return [
        [
            [float(found[sample, None][k] - found[sample, word][k]) for word in range(count)]
            for sample, count in enumerate(counts)
        ]
        for k in range(len(scores.values))
    ]


def _rounds(counts: Sequence[int]) -> list[list[Row]]:
    """Part rows into rounds of one row a sample, in their order; whole texts first, and where a text has no word."""
    every: list[int | None] = [None, *range(max(counts, default=0))]
    return [
        [(sample, None if word is None or word >= count else word) for sample, count in enumerate(counts)]
        for word in every
    ]


def _check_repeats(explained: Tensor, found: dict[Row, Tensor], whole: Sequence[Row]) -> None:
    """Check that the whole texts have the scores that are explained, and that every score is finite."""
    every = torch.stack(list(found.values()))
    if not bool(every.isfinite().all()):
        raise CannotLeaveOutError("without one of its words a text has a score that is not finite")
    again = torch.stack([found[row] for row in whole], 1)
    tolerance = 1e-3 if explained.dtype in {torch.float32, torch.float64} else 5e-2
    largest = every.abs().amax().clamp(min=1e-6)
    if bool(((again - explained.double().cpu()).abs() > tolerance * largest).any()):
        raise CannotLeaveOutError("the whole text has another score when it is run again")
