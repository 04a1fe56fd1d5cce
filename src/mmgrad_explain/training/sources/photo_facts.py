"""What photographs show, by their labels and pixels: each label, and each label in each colour.

Of ``K`` labels and ``C`` colours there are ``K + K C`` facts: label ``k`` is shown (number ``k``), and it is shown in
colour ``c`` (number ``K + k C + c``). See :mod:`mmgrad_explain.data.batches.facts` for their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.data.batches.facts import UNKNOWN
from mmgrad_explain.data.edits.colour_names import COLOUR_WORDS, judge_colours, measure_colour_shares

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    _Facts = npt.NDArray[np.int8]

COLOURS = len(COLOUR_WORDS)
_GRAYS = frozenset({"black", "gray", "white"})
_SMALL = 60  # pixels in the photograph; smaller objects may be lost in a view without being cut off
_SEEN = 6  # pixels in a view from which on an object is seen
_NAMED = 30  # pixels from which on an object's colour is named


class FactNumbers:
    """Facts on photographs with these labels.

    Args:
        names: Names of the labels; the first is the background.
        alike: Groups of names that people, and labels, mix up: where one is shown, it is not known that another is not.
    """

    def __init__(self, names: Sequence[str], alike: Sequence[Sequence[str]] = ()) -> None:
        self.labels = len(names)
        self.count = self.labels * (1 + COLOURS)
        number = {name: i for i, name in enumerate(names)}
        self._alike = [np.array([number[name] for name in group if name in number], np.int64) for group in alike]
        self._number = number

    def colours(self, label: int) -> slice:
        """Return where the facts on the colours of a label are."""
        start = self.labels + label * COLOURS
        return slice(start, start + COLOURS)

    def of_labels(self, photo: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> _Facts:
        """Return the facts on a photograph ``(H, W, 3)`` with its label map ``(H, W)``, ``(F,)``."""
        counts = np.bincount(labels.reshape(-1), minlength=256)[: self.labels]
        facts = np.zeros(self.count, np.int8)
        facts[: self.labels] = counts > 0
        for label in (np.flatnonzero(counts[1:]) + 1).tolist():
            named = counts[label] >= _NAMED
            facts[self.colours(label)] = (
                judge_colours(measure_colour_shares(photo, labels == label)) if named else UNKNOWN
            )
        return self._mix_up(facts)

    def of_tags(self, tags: Collection[str]) -> _Facts:
        """Return the facts on a photograph of which only tags are known: no colours."""
        facts = np.zeros(self.count, np.int8)
        for label in (self._number[tag] for tag in tags):
            facts[label] = 1
            facts[self.colours(label)] = UNKNOWN
        return self._mix_up(facts)

    def in_view(self, facts: _Facts, photo_labels: npt.NDArray[np.uint8], view: npt.NDArray[np.uint8]) -> _Facts:
        """Return the facts on a view, of those on its photograph: what is cut off is not shown.

        Args:
            facts: ``(F,)``, on the photograph.
            photo_labels: Its label map.
            view: The view's label map. If it is unknown everywhere, the facts stay as they are.
        """
        if (view == IGNORE).all():
            return facts
        whole, seen = (np.bincount(one.reshape(-1), minlength=256)[: self.labels] for one in (photo_labels, view))
        found = facts.copy()
        for label in np.flatnonzero(facts[: self.labels] == 1).tolist():
            if seen[label] >= _SEEN:
                continue
            gone = 0 if seen[label] == 0 and whole[label] >= _SMALL else UNKNOWN
            found[label] = found[self.colours(label)] = gone
        return self._mix_up(found)

    def painted(self, facts: _Facts, label: int, colour: str) -> _Facts:
        """Return the facts with a label painted."""
        found = facts.copy()
        found[self.colours(label)] = [int(word == colour) for word in COLOUR_WORDS]
        return found

    def changed(self, facts: _Facts, label: int, *, grays: bool = False) -> _Facts:
        """Return the facts with a label in colours that are not known, or in some gray."""
        found = facts.copy()
        found[self.colours(label)] = [0 if grays and word not in _GRAYS else UNKNOWN for word in COLOUR_WORDS]
        return found

    def ask(self, shown: int | None = None, colour: str | None = None, without: int | None = None) -> _Facts:
        """Return what a text asks for: a label, perhaps in a colour; or none of another label."""
        asks = np.full(self.count, UNKNOWN, np.int8)
        if shown is not None:
            asks[shown] = 1
            if colour is not None:
                asks[self.colours(shown)][COLOUR_WORDS.index(colour)] = 1
        if without is not None:
            asks[without] = 0
        return asks

    def colour_of(self, facts: _Facts, label: int) -> str | None:
        """Return the colour word of a label; None if it is not known."""
        found = np.flatnonzero(facts[self.colours(label)] == 1)
        return COLOUR_WORDS[int(found[0])] if len(found) == 1 else None

    def _mix_up(self, facts: _Facts) -> _Facts:
        """Turn facts that may be false because labels are mixed up into unknown ones."""
        for group in self._alike:
            if (facts[group] == 1).any():
                for label in group[facts[group] == 0]:
                    facts[label] = facts[self.colours(int(label))] = UNKNOWN
        return facts
