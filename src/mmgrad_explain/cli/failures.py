"""Messages and exit codes of commands that fail or are stopped."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from mmgrad_explain import __version__
from mmgrad_explain._system.files import advice_on
from mmgrad_explain._system.redaction import redact
from mmgrad_explain._system.user_files import reason_of
from mmgrad_explain.cli.printing import complain
from mmgrad_explain.cli.signals import Terminated
from mmgrad_explain.errors import MMGradError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEBUG = "MMGRAD_DEBUG"
_PROGRAM = "mmgrad-explain"
_OPTIONS = {
    "target_layers:": "--layer:",
    "ask to overwrite": "add --overwrite",
    "use its default score": "leave --score out",
    "leave answer and answer_part out": "leave --answer and --answer-part out",
}
_MORE = {
    "--layer:": "mmgrad-explain layers lists them",
    " holds nothing of ": "mmgrad-explain data check --help says what belongs there",
}


def fail(error: BaseException) -> int:
    """Print in one line why a command stopped, and what to do.

    Args:
        error: The error that the command raised.

    Returns:
        The exit code: 2 for what the user can correct, 130 for Ctrl-C, 143 for SIGTERM, 0 where the reader of standard
        output is gone, 1 for a bug; its traceback is written to a file, or printed with ``MMGRAD_DEBUG=1``.
    """
    if isinstance(error, BrokenPipeError):
        _give_up_standard_output()
        return 0
    if isinstance(error, KeyboardInterrupt):
        complain(_PROGRAM, ": ".join(["stopped", *map(str, error.args)]))
        return 143 if isinstance(error, Terminated) else 130
    if isinstance(error, MMGradError):
        complain(_PROGRAM, _in_options(str(error)))
        return 2
    if os.environ.get(DEBUG):
        sys.stderr.write(_traceback(error))
        return 1
    text = _system_message(error)
    if text is not None:
        complain(_PROGRAM, text)
        return 2
    kept = _keep_traceback(error)
    complain(_PROGRAM, f"unexpected {type(error).__name__}: {reason_of(error)}. This is a bug; please report it {kept}")
    return 1


def resume_command(typed: Sequence[str]) -> str:
    """Write the command that resumes a stopped one: the same with ``--resume``, ready to be copied.

    Args:
        typed: The arguments of the stopped command.
    """
    words = list(typed)
    end = words.index("--") if "--" in words else len(words)
    return shlex.join([_PROGRAM, *words[:end], *(() if "--resume" in words[:end] else ("--resume",)), *words[end:]])


def _in_options(message: str) -> str:
    """Replace the library's names in a message by the options of the command line."""
    for theirs, ours in _OPTIONS.items():
        message = message.replace(theirs, ours)
    more = [advice for sign, advice in _MORE.items() if sign in message]
    return f"{message} ({more[0]})" if more else message


def _system_message(error: BaseException) -> str | None:
    """Write the message for a full disk, a missing permission or too little memory; None for any other error."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch has a class of its own
        return "out of memory: take fewer pictures at once (--batch), smaller ones, or --device cpu"
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.filename is None:
        if error.errno != errno.ENOSPC:
            return None
        _give_up_standard_output()
        return f"cannot write: {error.strerror}: {advice_on(error)}"
    return f"{error.filename}: {error.strerror}: {advice_on(error)}"


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file, and return the words that name it; without a file it is printed."""
    lines = _traceback(error)
    about = f"mmgrad-explain {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mmgrad-explain-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"{about}{redact(' '.join(sys.argv))}\n\n{lines}")
    except OSError:
        sys.stderr.write(lines)
        return f"with the traceback above and what you typed (mmgrad-explain {__version__})"
    return f"with {file.name}, which holds the traceback and what you typed ({DEBUG}=1 prints the traceback instead)"


def _traceback(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))


def _give_up_standard_output() -> None:
    """Keep Python from writing the rest when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
