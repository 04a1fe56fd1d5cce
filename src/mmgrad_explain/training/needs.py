"""Packages that only training needs."""

from __future__ import annotations

from importlib.util import find_spec

from mmgrad_explain.errors import InputError


def need(package: str, what: str, install: str = "'mmgrad-explain[train]'") -> None:
    """Find out whether an optional package is there.

    Args:
        package: Its name.
        what: What wants it.
        install: What pip has to install.

    Raises:
        InputError: If not; it says what wants it and how to get it.
    """
    if find_spec(package) is None:
        raise InputError(f"{what} needs {package}, which is not installed: pip install {install}")
