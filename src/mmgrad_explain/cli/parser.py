"""The parser of the command line, with short and long help and errors of one line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from mmgrad_explain.cli.help_text import HelpFormatter
from mmgrad_explain.cli.printing import complain
from mmgrad_explain.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class HelpfulParser(argparse.ArgumentParser):
    """A parser with two kinds of help: ``-h`` lists the options, ``--help`` adds explanation and examples.

    Args:
        details: The text that ``--help`` adds.
        **options: Arguments of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, *, details: str = "", **options: Any) -> None:
        plain = {"add_help": False, "allow_abbrev": False, "formatter_class": HelpFormatter}
        super().__init__(**{**options, **plain})
        self.details = details
        self.add_argument("-h", action=_Help, long=False, help="list the options and exit")
        self.add_argument("--help", action=_Help, long=True, help="explain everything, with examples, and exit")

    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with code 2."""
        example = self._example() if "are required" in message else ""
        complain(self.prog, f"{message}{example} (see {self.prog} --help)")
        self.exit(2)

    def _example(self) -> str:
        """Return the first example of the help."""
        lines = self.details.partition("Examples:\n")[2].splitlines()
        return f", for example: {lines[0].strip()}" if lines else ""

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse the arguments; the parser of a command refuses what it does not know."""
        words = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:  # before other errors that follow from it
            self._refuse_unknown(words)
        known, rest = super().parse_known_args(words, namespace)
        if rest:
            self._refuse_unknown(rest)
            self.error(f"unrecognized arguments: {' '.join(rest)}: put quotes around a text of several words")
        return known, rest

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if word.startswith("--") and " " not in name and name not in self._option_string_actions:
                hint = did_you_mean(name, [known for known in self._option_string_actions if known.startswith("--")])
                self.error(f"unrecognized arguments: {name}: {hint}".removesuffix(": ").rstrip())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a wrong choice, and suggest the nearest one."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            known = ", ".join(choices)
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}: {did_you_mean(str(value), choices)}choose from {known}"
            )


class _Help(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, *, long: bool, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self.long = long

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        if self.long and isinstance(parser, HelpfulParser):
            parser.epilog = parser.details
        parser.print_help()
        parser.exit()
