"""No secret in what is said: addresses without users and passwords, queries and headers without tokens."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
_WORDS = r"[\w.-]*(?:token|secret|passw|pwd|api_?key|access_?key|auth|signature|credential)[\w.-]*"
_HOST = r"[\w.-]+(?::\d+)?/"  # what stands before it can be no password
_SECRETS = (  # an address that was taken as a path has one slash left
    (re.compile(rf"(://|\w\w:/(?!/))(?!{_HOST})[^\s'\"<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(rf"([?&;#]{_WORDS}=)[^\s&'\"<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(authorization\W{1,4}(?:\w+ +)?)[^\s'\"]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bhf_\w{16,}"), f"hf_{HIDDEN}"),
)


def redact(text: str, address: str = "") -> str:
    """A text that may speak of addresses, with ``***`` in the place of every user, password and token.

    In doubt more is hidden than has to be.

    Args:
        text: What is said.
        address: One that it may speak of, whole or in parts.
    """
    if address:
        text = text.replace(address, redact_address(address))
        _, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
        for form in (password, unquote(password)):
            text = text.replace(form, HIDDEN) if form else text
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text


def redact_address(address: str) -> str:
    """An address as it may be said and kept: the user and the password become ``***``.

    A password may hold any character, so that everything before the last ``@`` is hidden.
    """
    start, mark, rest = address.partition("://")
    if not mark:
        start, rest = "", address
    _, at, place = ("", "", "") if re.match(_HOST, rest) else rest.rpartition("@")
    return redact(f"{start}{mark}{HIDDEN}@{place}" if at else address)
