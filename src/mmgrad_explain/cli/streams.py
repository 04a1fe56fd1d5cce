"""What comes in by the command line and goes out by the standard streams, whatever the locale."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mmgrad_explain.errors import InputError


def prepare_streams() -> bool:
    """Let what is printed be written in any encoding: letters that it does not have, as escapes.

    Returns:
        Whether there is a standard output; where it is closed, that is said.
    """
    here = sys.stdout is not None
    for name in ("stdin", "stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # closed; else the next file that is opened would take its place
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not here:
        sys.stderr.write("mmgrad-explain: standard output is closed: let it go to a file, or to /dev/null\n")
    return here


def as_sentence(typed: str) -> str:
    """A sentence that was typed; what the locale has no letters for is read as UTF-8.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        return os.fsencode(typed).decode()
    except UnicodeError as error:
        raise InputError("the text has bytes that are no letters of UTF-8: type it anew") from error


def write_json(value: Any) -> None:
    """Write JSON to standard output; in plain letters, where its encoding has no others."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")
