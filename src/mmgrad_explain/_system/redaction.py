"""Remove secrets from messages: users and passwords from addresses, tokens from queries and headers."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
_WORDS = r"[\w.-]*(?:token|secret|passw|pwd|api_?key|access_?key|auth|signature|credential)[\w.-]*"
_HOST = r"[\w.-]+(?::\d+)?/"  # before a host there is no password
_SECRETS = (  # an address read as a path has one slash left
    (re.compile(rf"(://|\w\w:/(?!/))(?!{_HOST})[^\s'\"<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(rf"([?&;#]{_WORDS}=)[^\s&'\"<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(authorization\W{1,4}(?:\w+ +)?)[^\s'\"]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bhf_\w{16,}"), f"hf_{HIDDEN}"),
)


def redact(text: str, address: str = "") -> str:
    """Replace every user, password and token in a text by ``***``; in doubt it hides more than it must.

    Args:
        text: The text.
        address: An address that may occur in the text, whole or in parts.
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
    """Replace the user and the password in an address by ``***``.

    A password may hold any character, so everything before the last ``@`` is hidden.
    """
    start, mark, rest = address.partition("://")
    if not mark:
        start, rest = "", address
    _, at, place = ("", "", "") if re.match(_HOST, rest) else rest.rpartition("@")
    return redact(f"{start}{mark}{HIDDEN}@{place}" if at else address)
