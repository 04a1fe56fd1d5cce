"""Read a user's files: text, JSON and YAML of bounded size, and one line that says why one cannot be read.

Libraries that read a user's file raise many kinds of errors. Such code runs in :func:`reading`, which turns all of them
into an InputError that names the file. Errors from anywhere else pass unchanged.
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
"""Most bytes of a config, a tokenizer or a session."""
MOST_ANNOTATIONS = 2**33
"""Most bytes of annotations; the largest published data sets have several gigabytes of them."""
_PATIENCE = 60.0  # seconds to wait for a pipe
_PART = 2**20  # bytes
_MOST_CHARACTERS = 10_000_000
_LONGEST = 400  # characters of a message
_BLANKS = " \t"
_OBJECT = re.compile(r" <[\w.]+ object at 0x\w+>")  # memory addresses help nobody
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # perhaps half of a surrogate pair


class _Short(reprlib.Repr):
    """A ``repr`` that is cut where a value is long or deep."""

    def repr_int(self, x: int, level: int) -> str:
        """Write long integers by their length; Python refuses to write the longest."""
        if x.bit_length() > 300:
            return f"a number of some {x.bit_length() * 3 // 10} digits"
        return super().repr_int(x, level)


_short = _Short()
_short.maxlevel = 3
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 8
_short.maxstring = _short.maxother = _short.maxlong = 100


def quote(value: object) -> str:
    """Return the ``repr`` of a value for a message, shortened where it is long or deep."""
    return _cut(_short.repr(value))


def is_text(text: str) -> bool:
    """Return whether a string can be encoded; file names that are not UTF-8 and damaged JSON give some that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def reason_of(error: BaseException) -> str:
    """Return the message of an error as one line of bounded length, without secrets."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    message = str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
    return _cut(redact(" ".join(_OBJECT.sub("", message[: 10 * _LONGEST]).split()))) or type(error).__name__


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


@contextmanager
def reading(cannot: str) -> Iterator[None]:
    """Turn whatever a library raises in the block into an InputError.

    Args:
        cannot: Start of the message, such as ``"x.json cannot be read"``.

    Raises:
        InputError: The block raised. Errors of this package pass unchanged.
    """
    try:
        yield
    except MMGradError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # a panic in tokenizers
            raise
        raise InputError(f"{cannot}: {reason_of(error)}") from error


def open_file(path: Path, most: int) -> BinaryIO:
    """Open a file for reading; a pipe or a device is read to its end at once.

    Args:
        path: The file.
        most: Most bytes to read from a pipe or a device.

    Raises:
        OSError: It cannot be opened.
        InputError: The pipe gives nothing for a minute, or more than ``most`` bytes.
    """
    kind = path.stat().st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        return path.open("rb")
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(number, "rb", buffering=0) as stream:
        os.set_blocking(number, True)
        return io.BytesIO(read_stream(stream, str(path), most, patience=_PATIENCE))


def read_stream(stream: Any, name: str, most: int, *, patience: float | None = None) -> bytes:
    """Read a stream to its end.

    Args:
        stream: A stream in binary mode.
        name: Its name, for messages.
        most: Most bytes to read.
        patience: Most seconds to wait for a byte; None waits forever.

    Raises:
        InputError: The stream gives more than ``most`` bytes, or nothing for too long.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        if patience is not None and not _has_data(stream, patience):
            raise InputError(f"nothing has come from {name} for {patience:g} seconds: is somebody writing into it?")
        part = stream.read(_PART)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > most:
            raise InputError(f"{name} gives more than {most / 1e6:.0f} MB, which is more than can be taken")


def _has_data(stream: Any, patience: float) -> bool:
    waiting = select.poll()
    waiting.register(stream, select.POLLIN)
    return bool(waiting.poll(patience * 1000))


def read_text(path: Path, most: int = MOST_CONFIG, encoding: str = "utf-8") -> str:
    """Read a text file, with its line ends as they are; :func:`split_lines` splits it.

    Args:
        path: The file.
        most: Most bytes it may have.
        encoding: The encoding of the text.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read, is not text of this encoding, or is too large.
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


def split_lines(text: str) -> list[str]:
    r"""Split a text into lines as JSON Lines has them: they end with ``\n`` or ``\r\n`` and with nothing else.

    ``str.splitlines`` also splits at vertical tabs, U+0085, U+2028 and lone ``\r``, which occur within names.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def strip_blanks(line: str) -> str:
    """Strip spaces and tabs from both ends of a line; other blanks may belong to a name and stay."""
    return line.strip(_BLANKS)


def parse_json(text: str, cannot: str) -> Any:
    """Parse JSON.

    Args:
        text: The text.
        cannot: Start of the message where it cannot be parsed, such as ``"x.json is not JSON, or breaks off"``.

    Raises:
        InputError: It is not JSON, is nested too deeply, or holds lone surrogates, which no file name can.
    """
    with reading(cannot):
        found = json.loads(text)
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()  # refuses lone surrogates
        return found


def parse_yaml(text: str, cannot: str) -> Any:
    """Parse YAML.

    Args:
        text: The text.
        cannot: Start of the message where it cannot be parsed, such as ``"x.yaml is no YAML"``.

    Raises:
        InputError: It is not YAML, is nested too deeply, or is too large once its aliases are expanded.
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
    """Count the characters of a YAML node with its aliases expanded; infinite where it contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = node.value if isinstance(node.value, list) else []
        children = (child for part in parts for child in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = len(node.value) + 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def read_json(path: Path, most: int = MOST_CONFIG) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        most: Most bytes it may have.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read, or is not JSON.
    """
    return parse_json(read_text(path, most), f"{path} cannot be read")
