"""The command ``mmgrad-explain``. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from mmgrad_explain import __version__
from mmgrad_explain.cli.commands import (
    calibrate,
    compare,
    completion,
    convert,
    demo,
    evaluate,
    index,
    layers,
    retrieve,
    train,
)
from mmgrad_explain.cli.commands.data import command as data
from mmgrad_explain.cli.commands.overlay import command as overlay
from mmgrad_explain.cli.failures import fail
from mmgrad_explain.cli.parser import HelpfulParser
from mmgrad_explain.cli.printing import note
from mmgrad_explain.cli.signals import stop_on_sigterm
from mmgrad_explain.cli.streams import prepare_streams
from mmgrad_explain.errors import UnlockedWarning

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

COMMANDS = (overlay, compare, layers, calibrate, data, evaluate, index, retrieve, train, convert, demo, completion)
"""In the order of the help. Each module has ``add_parser``, which names the function that runs the command."""
_DESCRIPTION = "See where a vision-language model looks in a picture because of a text."
_EPILOG = """\
Examples:
  mmgrad-explain overlay query.jpg "make it red"
  mmgrad-explain overlay query.jpg "remove the small star" --target target.jpg --out where.png
  mmgrad-explain compare query.jpg "make it red" --methods gradcam,layercam
  mmgrad-explain layers
  mmgrad-explain calibrate photos/*.jpg "a dog" --model ./my-model
  mmgrad-explain data scenes --out scenes/ --count 10000
  mmgrad-explain train tiny
  mmgrad-explain index photos/ --gallery mine.db
  mmgrad-explain retrieve query.jpg "make it red" --gallery mine.db
  mmgrad-explain demo
  mmgrad-explain evaluate --data cirr:datasets/CIRR --model openai/clip-vit-base-patch32
  mmgrad-explain evaluate --maps scenes/ --methods gradcam,layercam --report figures/
  mmgrad-explain completion bash

Exit codes: 0 done, 1 something is missing (data check), cannot be read (index, overlay of several), or is a bug, 2
something you can correct (one line says what), 130 stopped by Ctrl-C, 143 stopped by SIGTERM.

`kill PID` (SIGTERM) stops a command like Ctrl-C does, also if a shell or a CI runner started the command in the
background, where Ctrl-C is ignored.

On a terminal there are tables, colours and bars; NO_COLOR=1 removes the colours, FORCE_COLOR=1 adds them to pipes.
Piped lines are plain; --json is for programs. MMGRAD_DEBUG=1 prints the traceback of a bug.

`mmgrad-explain COMMAND --help` explains a command, `-h` lists its options.
"""
_START = """\
See where a vision-language model looks in a picture because of a text.

Try:
  mmgrad-explain overlay query.jpg "make it red"   draw where the bundled model looks
  mmgrad-explain layers                            list the layers that can be explained
  mmgrad-explain demo                              the same on a page in the browser
  mmgrad-explain train tiny                        train a small model in about two minutes
  mmgrad-explain --help                            all commands, with examples
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser = HelpfulParser(prog="mmgrad-explain", description=_DESCRIPTION, details=_EPILOG)
    parser.add_argument("--version", action="version", version=f"mmgrad-explain {__version__}")
    parser.set_defaults(run=_start)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _start(_options: argparse.Namespace) -> int:
    """Print what the program's name alone shows."""
    sys.stdout.write(_START)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process when None.

    Returns:
        The exit code: 0, or as :func:`~mmgrad_explain.cli.failures.fail` says.
    """
    if not prepare_streams():
        return 2
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        from mmgrad_explain.cli.completers import complete

        complete(parser)
    options = parser.parse_args(argv)
    options.typed = sys.argv[1:] if argv is None else list(argv)
    try:
        with stop_on_sigterm(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what concerns the user is in notes, which are printed
            warnings.simplefilter("always", UnlockedWarning)
            warnings.showwarning = lambda message, *_, **__: note(str(message))
            code = int(options.run(options))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (bugs are reported, too)
        return fail(error)
    return code
