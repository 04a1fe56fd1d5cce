"""Files that a command writes: where ``--out`` says, or under a name that is free."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path


@dataclass(frozen=True)
class OutputFile:
    """A file that a command is to write.

    Attributes:
        path: The file.
        overwrite: Replace it if it exists.
        numbered: Put a number into its name if it exists.
    """

    path: Path
    overwrite: bool
    numbered: bool

    @classmethod
    def planned(cls, path: Path, options: argparse.Namespace) -> OutputFile:
        """Plan a file by ``--out`` and ``--overwrite``: without either, a name that is taken gets a number."""
        return cls(path, options.overwrite, numbered=options.out is None and not options.overwrite)

    def check(self) -> None:
        """Find out whether the file can be written, before any work.

        Raises:
            MMGradError: As :func:`~mmgrad_explain._system.files.check_writable`.
        """
        from mmgrad_explain._system.files import check_writable, next_free

        check_writable(next_free(self.path) if self.numbered else self.path, overwrite=self.overwrite)

    def write(self, save: Callable[..., object]) -> Path:
        """Write the file.

        Args:
            save: Called with the path and ``overwrite=``; writes all of it or nothing.

        Returns:
            The file, with the number in its name.
        """
        if self.numbered:
            from mmgrad_explain._system.files import write_next_free

            return write_next_free(self.path, lambda free: save(free, overwrite=False))
        save(self.path, overwrite=self.overwrite)
        return self.path


def name_after(text: str, otherwise: str) -> str:
    """Make a part of a file's name of a text: ``"make-it-red"``; ``otherwise`` where it has no letters for one."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or otherwise


def print_beside(files: Iterable[Path | None]) -> AbstractContextManager[Any]:
    """Send what is printed in the block to standard error if one of the files is standard output."""
    from mmgrad_explain._system.files import is_standard_output

    taken = any(is_standard_output(file) for file in files if file is not None)
    return redirect_stdout(sys.stderr) if taken else nullcontext()
