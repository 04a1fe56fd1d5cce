"""Pairs of different photographs that differ as a text says: other people's green skirts, for "make the skirt green".

The text names one difference between the reference and another, real photograph; what else differs is left open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.training.sources.photo_facts import FactNumbers

    _Facts = npt.NDArray[np.int8]

PAIR_EDITS = {"recolour": 4.0, "remove": 1.0, "add": 1.5, "replace": 1.5}
"""The kinds of differences between two photographs, and how often each is drawn, relative to the others."""

_BESIDE = 0.12  # of a photograph's height: labels whose middles are nearer than this take each other's place
_ALWAYS = 0.8  # share of the photographs that show a label from which on it is nothing to take off, such as hair
_COLOURED = 0.6  # how often a garment that comes is named with its colour, if that is known


def find_middles(labels: npt.NDArray[np.uint8]) -> list[tuple[int, float]]:
    """Return the labels of a map ``(H, W)``, each with the mean height of its pixels, 0 at the top and 1 below."""
    rows = (np.arange(len(labels)) + 0.5) / len(labels)
    found = [int(label) for label in np.unique(labels) if label != IGNORE]
    return [(label, float(np.average(rows, weights=(labels == label).sum(1)))) for label in found]


@dataclass(frozen=True)
class Pair:
    """A difference between the reference and another photograph.

    Attributes:
        kind: A key of :data:`PAIR_EDITS`.
        other: Number of the other photograph.
        gone: The label that is changed, or gone; None if something is added.
        come: The label that is there in the other photograph, in its new colour; None if something is removed.
        colour: Its colour; None if it is not named.
        asks: What the text asks for, ``(F,)``.
    """

    kind: str
    other: int
    gone: int | None
    come: int | None
    colour: str | None
    asks: _Facts


class PairDrawer:
    """Draws differences between a view and the photographs of a table.

    Args:
        numbers: The facts.
        table: Facts on all photographs, ``(P, F)``.
        middles: Typical height of each label's middle in its photographs, 0 to 1, ``(K,)``; NaN where it is unknown.
        editable: The labels that texts may name, ``(K,)`` bool.
        kinds: How often each kind is drawn.
    """

    def __init__(
        self,
        numbers: FactNumbers,
        table: _Facts,
        middles: npt.NDArray[np.float64],
        editable: npt.NDArray[np.bool_],
        kinds: dict[str, float],
    ) -> None:
        self._numbers = numbers
        self._table = table
        self._editable = editable
        self._kinds = list(kinds)
        self._shares = np.array(list(kinds.values())) / sum(kinds.values())
        shown = (table[:, : numbers.labels] == 1).any(0)
        self._known = np.flatnonzero(shown & editable)
        self._taken_off = (table[:, : numbers.labels] == 1).mean(0) < _ALWAYS
        self._instead = np.abs(middles[:, None] - middles[None]) < _BESIDE

    def draw(self, rng: np.random.Generator, index: int, facts: _Facts, things: Sequence[int]) -> Pair | None:
        """Draw a difference; None if there is none of the kind that was drawn.

        Args:
            rng: The source of chance.
            index: Number of the reference's photograph.
            facts: On the reference, ``(F,)``.
            things: The labels in it that may be changed.
        """
        kind = str(rng.choice(self._kinds, p=self._shares))
        if kind == "add":
            return self._add(rng, index, facts, None)
        if not things:
            return None
        thing = int(rng.choice(things))
        if kind == "recolour":
            return self._recolour(rng, index, facts, thing)
        if not self._taken_off[thing]:
            return None
        if kind == "replace":
            return self._add(rng, index, facts, thing)
        asks = self._numbers.ask(without=thing)
        return self._find(rng, index, "remove", asks, thing, None, None)

    def _recolour(self, rng: np.random.Generator, index: int, facts: _Facts, thing: int) -> Pair | None:
        where = self._numbers.colours(thing)
        there = (np.delete(self._table[:, where], index, 0) == 1).any(0) & (facts[where] == 0)
        if not there.any():
            return None
        colour = COLOUR_WORDS[int(rng.choice(np.flatnonzero(there)))]
        asks = self._numbers.ask(thing, colour)
        return self._find(rng, index, "recolour", asks, thing, thing, colour)

    def _add(self, rng: np.random.Generator, index: int, facts: _Facts, gone: int | None) -> Pair | None:
        """Find what the reference lacks; with ``gone``, what may be there in its place."""
        fitting = self._known[facts[self._known] == 0]
        if gone is not None:
            fitting = fitting[self._instead[gone][fitting]]
        if not len(fitting):
            return None
        come = int(rng.choice(fitting))
        there = (np.delete(self._table[:, self._numbers.colours(come)], index, 0) == 1).any(0)
        coloured = there.any() and rng.random() < _COLOURED
        colour = COLOUR_WORDS[int(rng.choice(np.flatnonzero(there)))] if coloured else None
        asks = self._numbers.ask(come, colour, without=gone)
        return self._find(rng, index, "add" if gone is None else "replace", asks, gone, come, colour)

    def _find(
        self, rng: np.random.Generator, index: int, kind: str, asks: _Facts, gone: int | None, come: int | None,
        colour: str | None,
    ) -> Pair | None:  # fmt: skip
        asked = asks != -1
        fitting = np.flatnonzero((self._table[:, asked] == asks[asked]).all(1))
        fitting = fitting[fitting != index]
        return Pair(kind, int(rng.choice(fitting)), gone, come, colour, asks) if len(fitting) else None
