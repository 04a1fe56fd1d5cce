"""Write images to files, whole or not at all."""

import os
from pathlib import Path

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.provenance import file_options, provenance_of
from mmgrad_explain.images.reading import open_image

_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}


def safe_save(
    image: object,
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
    *,
    overwrite: bool = False,
    quality: int = 92,
) -> None:
    """Write an image to a file, whole or not at all; missing folders are made.

    A picture of maps takes with it where it came from; :func:`~mmgrad_explain.images.provenance.read_provenance` reads
    that.

    Args:
        image: An image, as for :func:`~mmgrad_explain.images.reading.open_image`.
        path: The file to write.
        format: ``"png"``, ``"jpg"`` or ``"webp"``; by the path's suffix when None.
        overwrite: Replace the file if it exists.
        quality: Quality of jpg and webp, 1 to 100.

    Raises:
        OutputExistsError: ``path`` exists and ``overwrite`` is false.
        InputError: The format is unknown or the folder cannot be written.
    """
    path = Path(path)
    kind = _FORMATS.get((format or path.suffix).lower().removeprefix("."))
    if kind is None:
        raise InputError(f"cannot tell the image format of {path}: use one of png, jpg, webp")
    opened, record = open_image(image), provenance_of(image)
    with atomic_file(path, overwrite=overwrite) as stream:
        # subsampling 0 keeps the colour of thin outlines and small letters
        opened.save(stream, kind, quality=quality, subsampling=0, compress_level=3, **file_options(record, kind))
