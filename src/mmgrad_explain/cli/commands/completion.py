"""``mmgrad-explain completion``: print shell code that completes the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

SHELLS = ("bash", "zsh", "fish")
_DETAILS = """\
Prints shell code. When a shell has read it, TAB completes commands, options and their values: bundled models and their
layers, configs and their keys, scores, methods, colormaps, files.

For the current shell:
  bash, zsh  source <(mmgrad-explain completion bash)     (or zsh)
  fish       mmgrad-explain completion fish | source

For every new shell, add the same line to the end of ~/.bashrc, of ~/.zshrc after `autoload -Uz compinit && compinit`,
or of ~/.config/fish/config.fish. The line starts Python in each new shell; if that is too slow, write the code to a
file and source the file.

Examples:
  mmgrad-explain completion bash
  mmgrad-explain completion fish > mmgrad-explain.fish
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "completion", help="print shell code that completes this command line", details=_DETAILS,
        description="Print the code that lets a shell complete mmgrad-explain's commands and options.",
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the code."""
    import argcomplete

    sys.stdout.write(argcomplete.shellcode(["mmgrad-explain"], use_defaults=False, shell=options.shell))
    return 0
