"""How far one map can be trusted: figures, a verdict, and a line in plain words.

Two of the figures need the model, so that :mod:`mmgrad_explain.attention.reruns.map_checks` computes them; what they
mean is decided here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mmgrad_explain.images.marks import Mark

Verdict = Literal["good", "doubtful", "fails"]
AGREES, DISAGREES = 0.4, 0.25
"""Correlations with occlusion from which on a map agrees, and below which it fails; ``benchmarks/checks.py`` measures
how many wrong maps these find, and how many right ones they keep."""
SAME_MAP = 0.05
"""Distance to the map of another text below which a map hardly changes with the text."""


@dataclass(frozen=True)
class MapCheck:
    """How far the map of one sample can be trusted, on its own image and text.

    Attributes:
        sample: Which sample.
        target: Whether the map is that of the target image.
        verdict: ``"good"``, ``"doubtful"`` or ``"fails"``.
        occlusion: Correlation of the map with how much the score changes when each cell of the image is hidden, up or
            down, in [-1, 1]; None if it could not be had.
        lowers: The same with how much the score falls: near ``occlusion`` if hiding bright places lowers the score,
            below it if hiding some of them raises it.
        deletion: How much faster the score falls when the brightest places are deleted first than in random order, as a
            share of the range of scores that was seen; above 0 the map is better than chance.
        text: 1 less the rank correlation with the map of another text, in [0, 2]; near 0 the map does not change with
            the text.
        other_text: That text, or what it was.
        missing: The figures that could not be had, each with the reason.
        grid: (h, w) of the hidden cells.
        drops: How much the score fell when each cell was hidden, row by row, in the score's units.
        runs: How many images the model was run on.
    """

    sample: int
    target: bool
    verdict: Verdict
    occlusion: float | None = None
    lowers: float | None = None
    deletion: float | None = None
    text: float | None = None
    other_text: str | None = None
    missing: tuple[tuple[str, str], ...] = ()
    grid: tuple[int, int] | None = None
    drops: tuple[tuple[float, ...], ...] = ()
    runs: int = 0

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self) -> str:
        """Say in one line what the check found, with its figures."""
        start = {
            "good": "The map stands the check",
            "doubtful": "The map is doubtful",
            "fails": "The map fails the check",
        }
        parts = [self._say_occlusion(), self._say_deletion(), self._say_text()]
        parts += [f"{figure}: not measured ({why})" for figure, why in self.missing]
        return f"{start[self.verdict]}: {'; '.join(part for part in parts if part)}."

    def short(self) -> str:
        """Say in a few words why the map is not to be trusted; empty for a good map."""
        if self.verdict == "good":
            return ""
        start = "Fails the check" if self.verdict == "fails" else "Doubtful"
        if self.occlusion is None:
            return f"{start}: could not be compared with occlusion"
        if self.occlusion < AGREES:
            how = "does not agree" if self.verdict == "fails" else "hardly agrees"
            return f"{start}: {how} with occlusion ({_number(self.occlusion)})"
        return f"{start}: hardly changes with the text ({_number(self.text or 0.0)})"

    def mark(self) -> Mark | None:
        """Return the mark for a picture of the map; None for a good map."""
        return None if self.verdict == "good" else Mark(self.verdict, self.short())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name and the line in words, ready for JSON."""
        return {**asdict(self), "missing": dict(self.missing), "in_words": self.in_words()}

    def _say_occlusion(self) -> str:
        if self.occlusion is None:
            return ""
        how = (
            "agrees"
            if self.occlusion >= AGREES
            else "hardly agrees"
            if self.occlusion >= DISAGREES
            else "does not agree"
        )
        said = f"it {how} with occlusion ({_number(self.occlusion)})"
        if self.lowers is not None and self.occlusion >= AGREES and self.lowers < self.occlusion / 2:
            mostly = self.lowers < -self.occlusion / 2
            how = "mostly raises the score" if mostly else "raises the score as much as it lowers it"
            said += f", though hiding its bright places {how} ({_number(self.lowers)})"
        return said

    def _say_deletion(self) -> str:
        if self.deletion is None:
            return ""
        than = "faster" if self.deletion > 0 else "no faster"
        return f"without its bright places the score falls {than} than in random order ({_number(self.deletion)})"

    def _say_text(self) -> str:
        if self.text is None:
            return ""
        how = "hardly changes" if self.text < SAME_MAP else "changes"
        return f"it {how} with the text ({_number(self.text)})"


def judge(occlusion: float | None, text: float | None, *, flat: bool = False) -> Verdict:
    """Judge a map by its figures.

    Deletion does not decide: it separates right maps from wrong ones far worse than agreement with occlusion does.

    Args:
        occlusion: As in :class:`MapCheck`.
        text: Likewise.
        flat: Whether the map is empty or the same everywhere.
    """
    if flat or (occlusion is not None and occlusion < DISAGREES):
        return "fails"
    if occlusion is None or occlusion < AGREES or (text is not None and text < SAME_MAP):
        return "doubtful"
    return "good"


def _number(value: float) -> str:
    """Write a figure with two digits, without the zero before the point."""
    text = f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
    return {".00": "0", "-.00": "0"}.get(text, text)
