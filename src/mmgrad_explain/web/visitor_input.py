"""Read what a visitor sent: images and sentences, within the limits of the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.web.examples import code_for

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.web.limits import Limits


class UploadedImage(NamedTuple):
    """An image that a visitor uploaded.

    Attributes:
        image: Upright, RGB.
        name: The name of its file.
        content: The bytes of its file.
    """

    image: Image.Image
    name: str
    content: bytes


class _Named(io.BytesIO):
    """A file in memory with a name for messages."""

    name: str


def read_image(path: str, name: str, limits: Limits) -> UploadedImage:
    """Read an uploaded image; its size is checked before it is decoded.

    Args:
        path: Where the page keeps it.
        name: The name of the visitor's file.
        limits: How large it may be.

    Raises:
        InputError: It is too large, not an image, or no longer there.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        raise InputError(f"{name} is no longer here, since files are kept for an hour: give it again") from None
    if len(content) > limits.upload_bytes:
        raise InputError(f"{name} is larger than {limits.upload_mb:g} MB: shrink it")
    stream = _Named(content)
    stream.name = name
    return UploadedImage(open_image(stream, max_pixels=limits.pixels), name, content)


def split_sentences(text: object, limits: Limits) -> list[str]:
    """Split the text of a box into sentences, one a line.

    Args:
        text: What was typed; anything but a string counts as empty.
        limits: How many and how long they may be.

    Raises:
        InputError: There are none, too many, or too long ones.
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


def read_upload(value: Any, limits: Limits, what: str = "picture") -> UploadedImage:
    """Read the value of an image input as the browser sent it.

    Args:
        value: None where there is no image.
        limits: How large it may be.
        what: What the page calls it, for messages.

    Raises:
        InputError: There is none, or as :func:`read_image`.
    """
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise InputError(f"there is no {what} yet: upload, paste or photograph one, or choose an example")
    found = read_image(value["path"], Path(str(value.get("orig_name") or value["path"])).name, limits)
    return found if code_for(found.image) is None else found._replace(name="example picture")
