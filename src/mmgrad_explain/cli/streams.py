"""Standard streams that can be written to in any locale."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def prepare_streams() -> bool:
    """Let everything be printed in any encoding; characters that it does not have become escapes.

    Returns:
        Whether standard output is open; if not, a line on standard error says so.
    """
    is_open = sys.stdout is not None
    for name in ("stdin", "stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # closed; else the next file to be opened would get its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not is_open:
        sys.stderr.write("mmgrad-explain: standard output is closed: let it go to a file, or to /dev/null\n")
    return is_open


def write_json(value: Any) -> None:
    """Write JSON to standard output, in ASCII where its encoding has no other characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")
