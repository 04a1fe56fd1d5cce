"""Write the table of protocols in docs/datasets.md, or check that it is what the code says.

Usage: ``python docs/protocols_table.py [--check]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import page_table

from mmgrad_explain.metrics import PROTOCOLS, Protocol

PAGE = Path(__file__).parent / "datasets.md"


def row(name: str, protocol: Protocol) -> list[str]:
    """One protocol's cells."""
    figures = "; ".join(f"{figure}@{', '.join(map(str, ks))}" for figure, ks in protocol.cutoffs.items())
    means = "; ".join(f"of {' and '.join(of)}" for of in protocol.averages.values())
    return [
        "jsonl" if name == "jsonl" else protocol.name,
        figures,
        "any right answer" if protocol.any_relevant else "the one target",
        "removed" if protocol.exclude_reference else "kept",
        protocol.gallery,
        means,
    ]


def table() -> str:
    """The whole table."""
    head = ["set", "figures", "recall of", "reference image", "gallery", "average"]
    return page_table.markdown(head, [row(name, protocol) for name, protocol in PROTOCOLS.items()])


def main(arguments: list[str]) -> int:
    """Write the table, or with ``--check`` compare; 1 where they differ."""
    return page_table.main(PAGE, "protocols_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
