"""Notes on how an image was read; they are kept in the image's ``info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from PIL import Image

_KEY = "mmgrad_explain.notes"
_STACKS = ("GIF", "TIFF", "WEBP", "PNG", "AVIF")  # formats in which several images in a file are frames or pages


def notes_of_image(image: Image.Image) -> tuple[Note, ...]:
    """Return the notes of ``open_image`` on an image, for example that it is the first of several."""
    return tuple(note for note in image.info.get(_KEY, ()) if isinstance(note, Note))


def info_with_notes(notes: tuple[Note, ...]) -> dict[str | tuple[int, int], Any]:
    """Return the ``info`` of an image with these notes."""
    return {_KEY: notes} if notes else {}


def notes_of_stack(image: Image.Image) -> tuple[Note, ...]:
    """Return a note where the file that is read holds more images than the one that is taken."""
    if image.format not in _STACKS:
        return ()
    try:
        count, number = int(getattr(image, "n_frames", 1)), image.tell() + 1
    except Exception:  # noqa: BLE001  (Pillow's plugins raise many kinds of errors on damaged data)
        return ()
    which = "the first" if number == 1 else f"image {number}"
    return (Note("first-image", f"{which} of {count} images in the file is used"),) if count > 1 else ()
