"""``mmgrad-explain layers``: list the layers of a model that can be explained."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.printing import Table, show

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mmgrad_explain.attention.layers.candidate import Candidate

_DETAILS = """\
Runs the model on a drawn picture and a sentence, and lists every layer with a spatial output. The layer marked * is the
one explained by default; give another to `overlay --layer`.

Examples:
  mmgrad-explain layers
  mmgrad-explain layers --model ./my-model --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "layers", help="list a model's layers that can be explained", details=_DETAILS,
        description="List a model's candidate layers with their grids.",
    )  # fmt: skip
    parser.add_argument("--model", default="reference", help="bundled name, folder or hub id (default: %(default)s)")
    parser.add_argument("--text", default="make it red", help="the sentence to run it with (default: %(default)r)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the layers."""
    from mmgrad_explain.attention.layers.candidates import candidate_layers
    from mmgrad_explain.attention.layouts.layout import describe_layout
    from mmgrad_explain.composers.load import load_composer
    from mmgrad_explain.data.drawn_example import example_inputs

    composer = load_composer(options.model)
    found = candidate_layers(composer, **example_inputs(composer, options.text))
    if options.json:
        rows = [{**vars(candidate), "layout": describe_layout(candidate.layout)} for candidate in found]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        show(_table(found))
    return 0


def _table(found: Sequence[Candidate]) -> Table:
    from mmgrad_explain.attention.layouts.layout import describe_layout

    rows = [("", "layer", "type", "grid", "channels", "layout", "text mixed in", "gradient")]
    known = {True: "yes", False: "no", None: "?"}
    rows += [
        (
            "*" if c.chosen else "", c.name, c.type, f"{c.grid[0]}x{c.grid[1]}", str(c.channels),
            describe_layout(c.layout), known[c.mixes_text], known[c.gradient_reaches],
        )
        for c in found
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    plain = "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    chosen = [number for number, candidate in enumerate(found) if candidate.chosen]
    return Table(rows[0], rows[1:], plain, numbers=(4,), marked=chosen, broken=(5, 6))
