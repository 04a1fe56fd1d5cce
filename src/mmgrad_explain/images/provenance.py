"""Where a picture of a map came from, kept in the file itself: text, model, layers, method, score, notes.

In a PNG it is an ``iTXt`` chunk, in a JPEG the comment, in a WebP the image description of its EXIF data; always the
same JSON. Folders of the machine that wrote it are left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

KEY = "mmgrad_explain"
FORMAT = "mmgrad_explain.picture/1"
_DESCRIPTION = 0x010E  # ImageDescription of EXIF
_LONGEST = 2000  # characters of one string
_MOST = {"PNG": 1_000_000, "JPEG": 65_000, "WEBP": 65_000}  # bytes; a JPEG comment holds no more than 65,533
_FOLDERS = re.compile(r"(?<![\w.~/\\:-])(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[/\\][^\s/\\'\"<>|]+)*[/\\](?=[^\s/\\'\"<>|])")


def attach_provenance(image: Image.Image, record: Mapping[str, Any]) -> Image.Image:
    """Attach to a picture where it came from; :func:`~mmgrad_explain.images.saving.safe_save` writes it into the file.

    Args:
        image: The picture; it is changed in place.
        record: Ready for JSON. Strings longer than 2,000 characters are cut.

    Returns:
        The same picture.
    """
    image.info[KEY] = {"format": FORMAT, **_cut(record)}
    return image


def provenance_of(image: Any) -> dict[str, Any] | None:
    """Return what :func:`attach_provenance` attached to a picture in memory; None if there is nothing."""
    found = image.info.get(KEY) if isinstance(image, Image.Image) else None
    return found if isinstance(found, dict) else None


def provenance_text(record: Mapping[str, Any]) -> str:
    """Return the JSON that the chunk ``mmgrad_explain`` of a PNG holds, for a program that writes the file itself."""
    return _dump({"format": FORMAT, **_cut(record)}, _MOST["PNG"], ascii_only=False)


def file_options(record: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """Return the arguments of Pillow's ``save`` that write a record into a file.

    Args:
        record: The record; None writes nothing.
        kind: ``"PNG"``, ``"JPEG"`` or ``"WEBP"``.
    """
    if record is None:
        return {}
    if kind == "PNG":
        chunks = PngInfo()
        text = _dump(record, _MOST[kind], ascii_only=False)
        chunks.add_itxt(KEY, text, zip=len(text) > _LONGEST)
        chunks.add_itxt("Description", describe_provenance(record))
        chunks.add_text("Software", KEY)
        return {"pnginfo": chunks}
    text = _dump(record, _MOST[kind], ascii_only=True)
    if kind == "JPEG":
        return {"comment": text.encode("ascii")}
    exif = Image.Exif()
    exif[_DESCRIPTION] = text
    return {"exif": exif}


def describe_provenance(record: Mapping[str, Any]) -> str:
    """Describe a picture in one line: of which texts, by which model, layer and method."""
    texts = [str(part["text"]) for part in record.get("maps", ()) if part.get("text")]
    of = "; ".join(json.dumps(text, ensure_ascii=False) for text in dict.fromkeys(texts))[:_LONGEST]
    layers = ", ".join(map(str, record.get("layers", ())))
    return (
        f"Map{'s' if len(texts) > 1 else ''} of {of or record.get('score_name', 'a score')}: model "
        f"{record.get('model', '')}, {record.get('method', '')} at {layers}"
    )


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read where a picture of maps came from, from the picture's file.

    Args:
        path: A PNG, JPEG or WebP that this package saved.

    Returns:
        ``model``, ``layers``, ``method``, ``score_name``, ``versions``, and ``maps``: of each map its ``text``, its
        ``score``, its ``notes``, and its ``check`` where it was checked.

    Raises:
        InputError: The file cannot be read, or holds no such record: another program wrote it, or has removed it.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            image.load()  # chunks may stand after the pixels
            held = [image.info.get(KEY), image.info.get("comment"), image.getexif().get(_DESCRIPTION)]
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"{path.name} cannot be read as a picture: {error}") from error
    for value in held:
        found = _parse(value)
        if found is not None:
            return found
    raise InputError(
        f"{path.name} does not say where it came from: another program wrote it, or has removed what was written there"
    )


def without_folders(text: str) -> str:
    """Remove the folders from the paths in a text; the names of files and of models on a hub stay."""
    return _FOLDERS.sub("", text)


def name_without_folders(name: str) -> str:
    """Return the name of a model without the folders of this machine; a hub's ``owner/name`` stays."""
    return Path(name).name or name if ("/" in name or "\\" in name) and Path(name).exists() else without_folders(name)


def _parse(value: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and str(found.get("format", "")).startswith("mmgrad_explain.") else None


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, (list, tuple)) else value


def _dump(record: Mapping[str, Any], most: int, *, ascii_only: bool) -> str:
    """Write the record as JSON of at most ``most`` bytes; if need be the last maps are left out, and counted."""
    maps = list(record.get("maps", ()))
    for kept in range(len(maps), -1, -1):
        left = {"maps": maps[:kept], "maps_left_out": len(maps) - kept} if kept < len(maps) else {}
        text = json.dumps({**record, **left}, ensure_ascii=ascii_only)
        if len(text.encode()) <= most:
            return text
    raise InputError(f"provenance: the record has more than {most} bytes without its maps")
