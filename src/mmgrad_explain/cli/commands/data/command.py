"""``mmgrad-explain data``: build triplet sets, check benchmarks."""

from __future__ import annotations

from typing import Any

from mmgrad_explain.cli.commands.data import check, edits, labels, masks, scenes

SUBCOMMANDS = (edits, scenes, labels, check, masks)
"""In the order of the help; each has ``add_parser``."""
_DETAILS = """\
A triplet is a reference picture, a text that says what should change, a target picture with the change, and a mask of
the place that changes. `edits` and `scenes` write the same kind of folder: triplets.jsonl, references/, targets/,
masks/, manifest.json. `labels` labels photographs to train on; `check` checks the files of a benchmark of composed
retrieval, and `masks` makes masks for it.

Examples:
  mmgrad-explain data edits train2017/ --annotations instances_train2017.json --out edits/ --count 10000
  mmgrad-explain data scenes --help
  mmgrad-explain data check cirr datasets/CIRR
  mmgrad-explain data masks fashioniq fashion-iq --masks clipseg --masks segments
"""


def add_parser(commands: Any) -> None:
    """Add the command and its sub-commands to the parser."""
    parser = commands.add_parser(
        "data", help="build triplet sets with exact masks, check benchmarks", details=_DETAILS,
        description="Build triplet sets whose masks of what changes are exact, and check benchmarks.",
    )  # fmt: skip
    parser.set_defaults(run=lambda _options: parser.print_help() or 0)
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in SUBCOMMANDS:
        command.add_parser(subcommands)
