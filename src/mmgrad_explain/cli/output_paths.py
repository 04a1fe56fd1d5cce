"""Where a command writes: where ``--out`` says, or else under a name that nothing has."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path


def is_numbered(options: argparse.Namespace) -> bool:
    """Whether a name that is taken gets a number: nobody has said a name, or that a file may be replaced."""
    return options.out is None and not options.overwrite


def check_place(file: Path, options: argparse.Namespace) -> None:
    """Find out whether a result can be written, before any work.

    Raises:
        MMGradError: As :func:`~mmgrad_explain._system.files.check_writable`.
    """
    from mmgrad_explain._system.files import check_writable, next_free

    check_writable(next_free(file) if is_numbered(options) else file, overwrite=options.overwrite)


def put(file: Path, options: argparse.Namespace, write: Callable[[Path], object]) -> Path:
    """Write a result; gives the file, which has a number in its name where the name is taken."""
    if is_numbered(options):
        from mmgrad_explain._system.files import write_next_free

        return write_next_free(file, write)
    write(file)
    return file


def saying_beside(files: Iterable[Path | None]) -> AbstractContextManager[Any]:
    """While it is open, what is printed goes to standard error, if one of the results has gone to standard output."""
    from mmgrad_explain._system.files import is_standard_output

    there = any(is_standard_output(file) for file in files if file is not None)
    return redirect_stdout(sys.stderr) if there else nullcontext()
