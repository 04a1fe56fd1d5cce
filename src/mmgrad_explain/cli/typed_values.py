"""Texts and names as they are typed on the command line."""

from __future__ import annotations

import os

from mmgrad_explain.errors import InputError, did_you_mean


def decode_text(typed: str) -> str:
    """Decode a text that was typed; characters that the locale does not have are read as UTF-8.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        return os.fsencode(typed).decode()
    except UnicodeError as error:
        raise InputError("the text has bytes that are not UTF-8: type it anew") from error


def check_name(option: str, name: str | None, known: tuple[str, ...]) -> None:
    """Check that a name is known; None always is.

    Raises:
        InputError: It is not; the message gives the nearest name, and all.
    """
    if name is not None and name not in known:
        raise InputError(f"{option}: there is no {name!r}: {did_you_mean(name, known)}choose from {', '.join(known)}")
