"""Write the tables of figures in docs/evaluation.md, or check that they are what the code says.

The rows of localization and contrast are those of :data:`mmgrad_explain.metrics.map_figures.MAP_FIGURES`.

Usage: ``python docs/figures_table.py [--check]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import page_table

from mmgrad_explain.metrics import MAP_FIGURES, MapFigure

PAGE = Path(__file__).parent / "evaluation.md"

_BEFORE = (
    ["retrieval", "R@1 over all targets and references", "`retrieval`", "1 / gallery"],
    ["retrieval", "R@1 among siblings: the image's other edits and the image itself", "`retrieval`", "1 / candidates"],
)
_AFTER = (
    ["faithfulness", "deletion and insertion, against shuffled maps", "`faithfulness`", "0"],
    ["faithfulness", "rank correlation with the maps of random weights", "`faithfulness`", "0 is good here"],
)


def row(figure: MapFigure) -> list[str]:
    """One figure's cells."""
    question = "contrast" if figure.compares_texts else "localization"
    return [question, f"{figure.heading}: {figure.meaning}", "`localization`", figure.floor]


def table() -> str:
    """The whole table."""
    head = ["question", "figure", "module of `mmgrad_explain.metrics`", "floor"]
    return page_table.markdown(head, [*_BEFORE, *map(row, MAP_FIGURES), *_AFTER])


def main(arguments: list[str]) -> int:
    """Write the table, or with ``--check`` compare; 1 where they differ."""
    return page_table.main(PAGE, "figures_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
