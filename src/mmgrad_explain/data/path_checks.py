"""Checks of paths that a data file gives: they must stay below the folder that they are relative to.

A link in that folder may lead anywhere, since the owner of the folder made it. A path in a file that was downloaded may
not.
"""

from __future__ import annotations

from pathlib import PurePath


def leaves_folder(name: str) -> bool:
    """Return whether a path is absolute or has a ``..`` in it."""
    path = PurePath(name)
    return bool(path.anchor) or ".." in path.parts
