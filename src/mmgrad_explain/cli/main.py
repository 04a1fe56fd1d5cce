"""The command ``mmgrad-explain``. Heavy imports wait until a command runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from mmgrad_explain import __version__
from mmgrad_explain.cli import data, demo, evaluate, index, layers, overlay, retrieve, train
from mmgrad_explain.errors import MMGradError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "See where a vision-language model looks in a picture because of a text."
_EPILOG = """\
Examples:
  mmgrad-explain overlay query.jpg "make it red"
  mmgrad-explain overlay query.jpg "remove the small star" --target target.jpg --out where.png
  mmgrad-explain layers
  mmgrad-explain data scenes --out scenes/ --count 10000
  mmgrad-explain train tiny
  mmgrad-explain index photos/ --gallery mine.db
  mmgrad-explain retrieve query.jpg "make it red" --gallery mine.db
  mmgrad-explain demo
  mmgrad-explain evaluate --data cirr:datasets/CIRR --model openai/clip-vit-base-patch32

Exit codes: 0 done, 1 something is missing (data check) or cannot be read (index), 2 something you can put right (one
line says what), 130 stopped by Ctrl-C.
`mmgrad-explain COMMAND --help` tells all about a command, `-h` just lists its options.
"""


class HelpfulParser(argparse.ArgumentParser):
    """``-h`` lists the options; ``--help`` adds explanation and examples. Errors are one line."""

    def __init__(self, *, details: str = "", **options: Any) -> None:
        plain = {"add_help": False, "allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**{**options, **plain})
        self.details = details
        self.add_argument("-h", action=_Help, long=False, help="list the options and exit")
        self.add_argument("--help", action=_Help, long=True, help="explain everything, with examples, and exit")

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Help(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, *, long: bool, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self.long = long

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        if self.long and isinstance(parser, HelpfulParser):
            parser.epilog = parser.details
        parser.print_help()
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = HelpfulParser(prog="mmgrad-explain", description=_DESCRIPTION, details=_EPILOG)
    parser.add_argument("--version", action="version", version=f"mmgrad-explain {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    overlay.add_parser(commands)
    layers.add_parser(commands)
    data.add_parser(commands)
    evaluate.add_parser(commands)
    index.add_parser(commands)
    retrieve.add_parser(commands)
    train.add_parser(commands)
    demo.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process when None.

    Returns:
        The exit code: 0, 2 for what the user can put right, 130 for Ctrl-C.
    """
    options = build_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what concerns the user is in the explanation's notes, and printed as such
            return int(options.run(options))
    except MMGradError as error:
        sys.stderr.write(f"mmgrad-explain: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("mmgrad-explain: stopped\n")
        return 130
    except BrokenPipeError:
        return 0
