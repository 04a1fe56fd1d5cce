"""Reads pickles that hold plain values only. A pickle can name any function and call it; this reader refuses that."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, NoReturn

from mmgrad_explain._system.user_files import open_file, reading
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 2**30  # bytes; the largest published file of expressions has some 40 MB


class _PlainUnpickler(pickle.Unpickler):
    """Makes lists, dicts, tuples, sets, strings and numbers; every class and function is refused."""

    def __init__(self, stream: io.BytesIO, name: str) -> None:
        super().__init__(stream, encoding="utf-8", errors="replace")  # strings of Python 2 are bytes
        self.file = name

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        """Refuse a name of code."""
        raise InputError(
            f"{self.file} is a pickle that calls {module_name}.{global_name}: only plain lists, dicts, strings and "
            "numbers are read from a pickle, since code in it would run"
        )

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse a reference to something outside of the file."""
        raise InputError(f"{self.file} is a pickle that refers to something outside of it: {str(pid)[:60]!r}")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain values; nothing in it is run.

    Args:
        path: The file; of Python 2 or 3.

    Raises:
        InputError: There is no such file, it is too large or damaged, or it holds anything else than plain values.
    """
    try:
        with reading(f"{path} cannot be read"), open_file(path, _MOST) as stream:
            data = stream.read(_MOST + 1)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError(f"no such file: {path}") from None
        raise
    if len(data) > _MOST:
        raise InputError(f"{path} is too large: a pickle may have {_MOST / 1e6:.0f} MB")
    with reading(f"{path} is not a pickle, or damaged"):
        return _PlainUnpickler(io.BytesIO(data), str(path)).load()
