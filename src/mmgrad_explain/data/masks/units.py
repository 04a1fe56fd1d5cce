"""What a mask is made for: one caption of a query with its two images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from mmgrad_explain.data.cir.dataset import CirSet, CirTriplet

SUBJECTS = {"dress": "dress", "shirt": "shirt", "toptee": "top", "shoes": "shoes"}
"""What all images show, by the category of FashionIQ or by the data set: it is meant where a text names no thing."""


@dataclass(frozen=True)
class Unit:
    """A caption with its images.

    Attributes:
        reference: File of the reference; None if it is missing.
        target: File of the target, likewise.
        names: What lists of detections may call the reference.
        target_names: What they may call the target.
        text: The caption.
        subject: What both images show, where the data set says it; else empty.
        given: Files of the masks that the data set gives, of reference and target; None where it gives none.
    """

    reference: Path | None
    target: Path | None
    names: tuple[str, ...]
    target_names: tuple[str, ...]
    text: str
    subject: str = ""
    given: tuple[Path | None, Path | None] = (None, None)

    def key(self) -> str:
        """Return a number that changes when an image, its size in bytes, or the text does."""
        files = [(None if path is None else (path.name, _size(path))) for path in (self.reference, self.target)]
        masks = [None if path is None else (path.name, _size(path)) for path in self.given]
        about = json.dumps([files, masks, self.names, self.target_names, self.text, self.subject])
        return hashlib.blake2s(about.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class UnitMasks:
    """The masks of a unit, or the reason why it has none.

    Attributes:
        reference: Values in [0, 1] over the whole image, ``(h, w)``; None without.
        target: Likewise.
        reason: Why there is no mask; None where there is one.
        words: The words whose things were looked for; empty where the words do not matter.
        named_by: ``text`` or ``subject``: where these words come from; empty without.
    """

    reference: npt.NDArray[np.float32] | None = None
    target: npt.NDArray[np.float32] | None = None
    reason: str | None = None
    words: str = ""
    named_by: str = ""


def list_units(data: CirSet, part: str) -> list[Unit]:
    """List the units of a part: of each query with a target, one for each caption that is not empty."""
    return [unit for query in data.queries[part] if query.target is not None for unit in units_of(data, part, query)]


def units_of(data: CirSet, part: str, query: CirTriplet) -> Iterator[Unit]:
    """Make the units of one query, one for each caption that is not empty."""
    category = part.partition(".")[0]
    given = [None if path is None else data.root / path for path in (query.mask, query.target_mask)]
    files, names = [], []
    for image in (query.reference, query.target or ""):
        path = data.images.paths.get(image)
        files.append(None if image in data.images.missing else path)
        below = path.relative_to(data.root).as_posix() if path is not None and path.is_relative_to(data.root) else ""
        more = () if path is None else (below, path.name, path.stem)
        names.append(tuple(dict.fromkeys(name for name in (image, *more) if name)))
    for caption in query.captions:
        text = " ".join(caption.split())
        if text:
            subject = SUBJECTS.get(category, SUBJECTS.get(data.name, ""))
            yield Unit(files[0], files[1], names[0], names[1], text, subject, (given[0], given[1]))


def _size(path: Path) -> int:
    """Return the size of a file in bytes; of a stack, ``stack.npy#3``, that of its file; -1 without one."""
    stack, mark, _ = path.name.rpartition("#")
    try:
        return (path.with_name(stack) if mark and stack.endswith(".npy") else path).stat().st_size
    except OSError:
        return -1
