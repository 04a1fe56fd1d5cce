"""The drawing of a calibration: every kind of map with its interval, and the floors as lines."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmgrad_explain.attention.calibration.agreement import Agreement

TAKEN, TIED, OTHER = "taken", "not told apart from the best", "agrees less"
_COLOURS = {TAKEN: "#d55e00", TIED: "#0072b2", OTHER: "#999999"}  # told apart with any kind of colour blindness


class _ShownFigure(Figure):
    """A figure that a notebook shows without pyplot, which would keep it in memory."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw_ranking(named: Sequence[tuple[str, Agreement, str]], floors: Mapping[str, Agreement], label: str) -> Figure:
    """Draw a ranking with its intervals, and the floors as lines.

    Args:
        named: Kinds of maps, the best first: name, agreement, and ``TAKEN``, ``TIED`` or ``OTHER``.
        floors: The agreement of maps that know nothing, by name.
        label: What the agreement is.
    """
    figure = _ShownFigure(figsize=(8, 1.6 + 0.3 * len(named)), layout="constrained")
    axes = figure.subplots()
    for place, (_, of, kind) in enumerate(named):
        axes.plot([of.low, of.high], [place, place], color=_COLOURS[kind], linewidth=2)
        axes.plot(of.mean, place, "o", color=_COLOURS[kind])
    for (name, of), style in zip(floors.items(), (":", "--"), strict=False):
        axes.axvline(of.mean, color="black", linestyle=style, linewidth=1, label=name)
    for kind in dict.fromkeys(kind for _, _, kind in named):
        axes.plot([], [], "o-", color=_COLOURS[kind], linewidth=2, label=kind)
    axes.set_yticks(range(len(named)), [name for name, _, _ in named])
    axes.invert_yaxis()
    axes.set_xlabel(label)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
