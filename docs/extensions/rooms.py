"""What a room offers, for its page of the reference: the names of its doors, then its modules.

A page of ``docs/api/`` has a line such as the first below; Sphinx reads a table of names and an entry for each module
in its place. In place of the second it reads a table of these names of ``mmgrad_explain``::

    {room}`mmgrad_explain.metrics`
    {names}`explain, Explanation`
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

ROOM = re.compile(r"^\{room\}`([\w.]+)`$", re.MULTILINE)
NAMES = re.compile(r"^\{names\}`([\w., ]+)`$", re.MULTILINE)


def names_of(package: str) -> dict[str, str]:
    """Find the names that a door gives.

    Args:
        package: ``mmgrad_explain`` or a package in it, which need not have a door.

    Returns:
        Each name with the module that defines it, in the door's order.
    """
    return {
        alias.name: str(node.module)
        for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(package))))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def modules_of(room: str) -> tuple[list[str], list[str]]:
    """Find the packages and the modules of a room.

    Args:
        room: A package of ``mmgrad_explain``.

    Returns:
        The packages, the room's own first; the modules. Both in alphabetical order.
    """
    found = list(pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."))
    packages = [room, *(one.name for one in found if one.ispkg)]
    return packages, sorted(one.name for one in found if not one.ispkg)


def table(names: dict[str, str]) -> str:
    """Write a table of names with the first sentence of each docstring."""
    lines = "\n".join(f"   ~{module}.{name}" for name, module in names.items())
    return f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{lines}\n```\n"


def entry(module: str) -> str:
    """Write the entry of a module."""
    title = module.removeprefix("mmgrad_explain.")
    return f"### `{title}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n"


def parts_of(room: str) -> Iterator[str]:
    """Write a room's part of a page: each door, the modules that define its names, the other modules."""
    packages, modules = modules_of(room)
    given = {}
    for package in packages:
        if names := names_of(package):
            given |= names
            about = "" if package == room else f"{importlib.import_module(package).__doc__}\n\n"
            yield f"## `from {package} import ...`\n\n{about}{table(names)}"
    public = [module for module in modules if module in given.values() or not given]
    inside = [module for module in modules if module not in public]
    if public:
        yield from ("## Modules\n", *map(entry, public))
    if inside:
        yield "## Inside\n\nWhat the room is made of, for those who work on it.\n"
        yield from map(entry, inside)


def expand(text: str) -> str:
    """Replace the lines ``{room}`` and ``{names}`` of a page."""
    text = ROOM.sub(lambda found: "\n".join(parts_of(found[1])), text)
    homes = names_of("mmgrad_explain")
    return NAMES.sub(lambda found: table({name: homes[name] for name in found[1].split(", ")}), text)


def _read(_app: Sphinx, page: str, source: list[str]) -> None:
    if page.startswith("api/"):
        source[0] = expand(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Expand a page before it is parsed."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
