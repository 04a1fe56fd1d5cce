"""Paths that a data file gives: they stay below the folder that they are relative to.

A link in that folder may lead anywhere: who put it there meant it. A name in a file that was fetched from elsewhere may
not.
"""

from __future__ import annotations

from pathlib import PurePath


def leaves_folder(name: str) -> bool:
    """Whether a path is absolute or has a ``..`` in it."""
    path = PurePath(name)
    return bool(path.anchor) or ".." in path.parts
