"""What the page takes, and what it says of the rest."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Limits:
    """How much one visitor may ask for.

    Attributes:
        upload_mb: Largest file, in megabytes (10^6 bytes).
        pixels: Most pixels of a picture, width times height; more are refused before they are decoded.
        texts: Most sentences at once.
        characters: Longest sentence.
        waiting: Most visitors' questions that wait for their turn.

    Raises:
        InputError: One is not positive.
    """

    upload_mb: float = 20.0
    pixels: int = 25_000_000
    texts: int = 6
    characters: int = 400
    waiting: int = 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"max-{name.replace('_', '-')} must be above 0, got {value}")

    @property
    def upload_bytes(self) -> int:
        """Largest file, in bytes."""
        return int(self.upload_mb * 1_000_000)


class Given(NamedTuple):
    """A picture that a visitor gave.

    Attributes:
        image: Upright, RGB.
        name: What it is called.
        content: Its file.
    """

    image: Image.Image
    name: str
    content: bytes


class _Named(io.BytesIO):
    """A file in memory that messages can name."""

    name: str


def read_picture(path: str, name: str, limits: Limits) -> Given:
    """Read what a visitor gave; its size is looked at before it is decoded.

    Args:
        path: Where the page keeps it.
        name: What its visitor calls it.
        limits: How large it may be.

    Raises:
        InputError: It is too large, no picture, or no longer there.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        raise InputError(f"{name} is no longer here, since files are kept for an hour: give it again") from None
    if len(content) > limits.upload_bytes:
        raise InputError(f"{name} is larger than {limits.upload_mb:g} MB: shrink it")
    stream = _Named(content)
    stream.name = name
    return Given(open_image(stream, max_pixels=limits.pixels), name, content)


def sentences(text: object, limits: Limits) -> list[str]:
    """Take a box of sentences apart, one a line.

    Args:
        text: What was written; what is no string counts as nothing.
        limits: How many and how long they may be.

    Raises:
        InputError: There is none, or there are too many or too long ones.
    """
    found = [" ".join(line.split()) for line in (text if isinstance(text, str) else "").splitlines() if line.strip()]
    if not found:
        raise InputError('the sentence is empty: say what should change, for example "make it red"')
    if len(found) > limits.texts:
        raise InputError(f"{len(found)} sentences are too many at once: give up to {limits.texts}, one a line")
    longest = max(map(len, found))
    if longest > limits.characters:
        raise InputError(f"a sentence of {longest} characters is too long: give up to {limits.characters}")
    return found
