"""Doors of packages: a package imports what it re-exports at its first use (PEP 562).

A door lists its names once, as imports under ``if TYPE_CHECKING:``, where type checkers and editors read them too::

    from typing import TYPE_CHECKING

    from mmgrad_explain._doors import door

    if TYPE_CHECKING:
        from mmgrad_explain.metrics.localization import pointing_game as pointing_game

    __getattr__, __dir__ = door(__name__)
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def door(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the door of a package.

    Args:
        package: ``__name__`` of the package.

    Returns:
        ``__getattr__`` and ``__dir__`` of the package; the former also returns ``__all__``.
    """

    @cache
    def homes() -> dict[str, str]:
        """Find the modules that define the names."""
        import ast
        import inspect

        return {
            alias.name: str(node.module)
            for node in ast.walk(ast.parse(inspect.getsource(sys.modules[package])))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.asname == alias.name
        }

    def load(name: str) -> object:
        if name == "__all__":
            return sorted(homes())
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes()[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted(homes())
