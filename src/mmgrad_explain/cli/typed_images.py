"""Images as they are named on the command line: files, and ``-`` for standard input."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

STANDARD_INPUT = "-"


def check_files(names: Iterable[str]) -> None:
    """Check that the files of images exist.

    Raises:
        InputError: There is no such file.
    """
    from mmgrad_explain.images.reading import open_image

    for name in names:
        if name != STANDARD_INPUT and not os.path.lexists(name):
            open_image(name)


def open_typed_image(name: str) -> Image.Image:
    """Open an image by its path, or from standard input where the name is ``"-"``.

    Raises:
        InputError: Standard input is empty or too large, or as :func:`~mmgrad_explain.images.reading.open_image`.
    """
    from mmgrad_explain.images import reading

    if name != STANDARD_INPUT:
        return reading.open_image(name)
    from mmgrad_explain._system.user_files import read_stream

    data = read_stream(sys.stdin.buffer, "standard input", reading.most_bytes(reading.MAX_PIXELS))
    if not data:
        raise InputError("standard input is empty: pipe a picture into it, or name a file instead of -")
    return reading.open_image(data)
