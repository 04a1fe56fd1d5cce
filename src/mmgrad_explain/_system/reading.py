"""What is read of a user's: how much of it, and one line that says what was wrong with it.

Code of other people that reads a user's file raises all sorts of things. It runs in :func:`reading`, which says of the
file whatever was raised; what is raised elsewhere stays what it is.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import reprlib
import select
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from mmgrad_explain._system.redaction import redact
from mmgrad_explain.errors import InputError, MMGradError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_CONFIG = 2**28
"""Bytes of a file that describes something: a config, a tokenizer, a session."""
MOST_ANNOTATIONS = 2**33
"""Bytes of a file of annotations; those of the largest published data sets have some gigabytes."""
_PATIENCE = 60.0  # seconds, until something is written into a pipe
_PART = 2**20  # bytes
_MOST_CHARACTERS = 10_000_000
_LONGEST = 400  # characters
_OBJECT = re.compile(r" <[\w.]+ object at 0x\w+>")  # where something lies in memory helps nobody
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # perhaps half a character


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write the longest of them."""
        if x.bit_length() > 300:
            return f"a number of some {x.bit_length() * 3 // 10} digits"
        return super().repr_int(x, level)


_short = _Short()
_short.maxlevel = 3
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 8
_short.maxstring = _short.maxother = _short.maxlong = 100


def shown(value: object) -> str:
    """A value as messages quote it: its ``repr``, cut where it is long or deep, however often its parts occur in it."""
    return _cut(_short.repr(value))


def is_text(text: str) -> bool:
    """Whether a string can be written down: file names that are no UTF-8, and damaged JSON, give such as cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def reason_of(error: BaseException) -> str:
    """What an error says, as one line of bounded length, without secrets."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    said = str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
    return _cut(redact(" ".join(_OBJECT.sub("", said[: 10 * _LONGEST]).split()))) or type(error).__name__


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


@contextmanager
def reading(cannot: str) -> Iterator[None]:
    """Let other people's code read what a user gave; whatever it raises is said of that.

    Args:
        cannot: What it means if it raises, ``"x.json cannot be read"``.

    Raises:
        InputError: The block raised. Errors of this package pass as they are.
    """
    try:
        yield
    except MMGradError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # what tokenizers panics with
            raise
        raise InputError(f"{cannot}: {reason_of(error)}") from error


def open_file(path: Path, most: int) -> BinaryIO:
    """Open a file; what is written into a pipe or comes from a device is read here.

    Args:
        path: The file.
        most: Bytes that may come from a pipe or a device.

    Raises:
        OSError: It cannot be opened.
        InputError: Nobody writes into the pipe for a minute, or more than ``most`` comes.
    """
    kind = path.stat().st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        return path.open("rb")
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(number, "rb", buffering=0) as stream:
        os.set_blocking(number, True)
        return io.BytesIO(read_stream(stream, str(path), most, patience=_PATIENCE))


def read_stream(stream: Any, name: str, most: int, *, patience: float | None = None) -> bytes:
    """Everything that comes from a stream.

    Args:
        stream: Open in binary mode.
        name: What it is called.
        most: Bytes.
        patience: Seconds without a byte; None waits as long as it takes.

    Raises:
        InputError: More than ``most`` comes, or nothing for too long.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        if patience is not None and not _has_come(stream, patience):
            raise InputError(f"nothing has come from {name} for {patience:g} seconds: is somebody writing into it?")
        part = stream.read(_PART)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > most:
            raise InputError(f"{name} gives more than {most / 1e6:.0f} MB, which is more than can be taken")


def _has_come(stream: Any, patience: float) -> bool:
    waiting = select.poll()
    waiting.register(stream, select.POLLIN)
    return bool(waiting.poll(patience * 1000))


def read_text(path: Path, most: int = MOST_CONFIG, encoding: str = "utf-8") -> str:
    """A text file's content, with the ends of lines that it has.

    Args:
        path: The file.
        most: Bytes it may have.
        encoding: Of the text.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read, is no text, or is too large.
    """
    try:
        opened = open_file(path, most)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {reason_of(error)}") from error
    with reading(f"{path} cannot be read"), opened as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > most:
            raise InputError(f"{path} is too large: it has {size / 1e6:.0f} MB, of at most {most / 1e6:.0f}")
        stream.seek(0)
        return stream.read().decode(encoding)


def parse_json(text: str, cannot: str) -> Any:
    """What a JSON text says.

    Args:
        text: The text.
        cannot: What it means if it is none, ``"x.json is not JSON, or breaks off"``.

    Raises:
        InputError: It is not JSON, is nested too deeply, or holds halves of characters, which no file can be named by.
    """
    with reading(cannot):
        found = json.loads(text)
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()  # refuses halves of characters
        return found


def parse_yaml(text: str, cannot: str) -> Any:
    """What a YAML text says.

    Args:
        text: The text.
        cannot: What it means if it is none, ``"x.yaml is no YAML"``.

    Raises:
        InputError: It is no YAML, is nested too deeply, or grows beyond measure where its aliases are put in.
    """
    import yaml

    with reading(cannot):
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > _MOST_CHARACTERS:
                raise InputError(f"{cannot}: it has more than {_MOST_CHARACTERS} characters with its aliases put in")
            return loader.construct_document(node)
        finally:
            loader.dispose()


def _size(node: Any, known: dict[int, float]) -> float:
    """How many characters a node of YAML holds, counting what aliases repeat; no end where it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = node.value if isinstance(node.value, list) else []
        flat = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = len(node.value) + 1 + sum(_size(one, known) for one in flat)
    return known[id(node)]


def read_json(path: Path, most: int = MOST_CONFIG) -> Any:
    """What a JSON file says.

    Args:
        path: The file.
        most: Bytes it may have.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read, or is no JSON.
    """
    return parse_json(read_text(path, most), f"{path} cannot be read")
