"""How masks are made: which makers, in which order, and a hash of all that decides what they make."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mmgrad_explain.errors import InputError, did_you_mean

MASKS = {
    "none": "no masks",
    "given": "the masks that the data set gives (jsonl)",
    "difference": "where a photograph and its changed copy differ; refuses two different photographs",
    "clipseg": "CLIPSeg's mask of the thing that the text names; clipseg:FOLDER for a local one",
    "detections": "boxes of a detector whose label the text names: detections:FILE",
    "segments": "the object before an even background, by colour",
    "self": "nothing: training compares maps with each other where no other way marks anything",
}
"""The ways to say where a map should be bright, with what each is."""

MAKERS = ("given", "difference", "clipseg", "detections", "segments")
"""Those that make masks."""

RULE, PARSER = "rule", "spacy"

_VERSION = 1  # raised when a maker's results change


@dataclass(frozen=True)
class MaskSettings:
    """How masks are made.

    Attributes:
        masks: Names of :data:`MASKS`, in the order in which they are tried: the first that finds something counts.
            ``clipseg`` takes a folder or hub id after a colon, ``detections`` needs a file.
        size: Rows and columns of a mask, which covers its whole image, whatever its shape.
        least: A thing of CLIPSeg with no probability above this, and a box of a lower score, is not there.
        whole: Where a text names nothing, mark what all images of the set show, if the set says it: a dress.
        words: How the things that a text names are found, for ``clipseg`` and ``segments``: ``rule``, or ``spacy``, a
            parser, with ``spacy:MODEL`` for another model than its smallest English one.

    Raises:
        InputError: A name is unknown, or the list makes no sense.
    """

    masks: tuple[str, ...] = ("given",)
    size: int = 64
    least: float = 0.3
    whole: bool = True
    words: str = "rule"

    def __post_init__(self) -> None:
        check_words(self.words)
        if not self.masks:
            raise InputError("masks: name at least one; 'none' makes none")
        for given in self.masks:
            name, colon, rest = given.partition(":")
            if name not in MASKS:
                raise InputError(f"masks: there is no {name!r}: {did_you_mean(name, MASKS)}use {', '.join(MASKS)}")
            if name == "detections" and not rest:
                raise InputError("masks: say where the boxes are: detections:FILE")
            if colon and (name not in {"detections", "clipseg"} or not rest):
                raise InputError(f"masks: {given!r}: only clipseg:FOLDER and detections:FILE take something more")
        names = [given.partition(":")[0] for given in self.masks]
        if "none" in names and len(names) > 1:
            raise InputError("masks: 'none' stands alone")
        if "self" in names[:-1]:
            raise InputError("masks: 'self' takes all that the others leave, so it comes last")
        if not 4 <= self.size <= 512 or not 0 < self.least < 1:
            raise InputError(f"masks: size must be 4 to 512 and least in (0, 1), got {self.size} and {self.least}")

    @property
    def makers(self) -> tuple[str, ...]:
        """Those of :attr:`masks` that make masks."""
        return tuple(given for given in self.masks if given.partition(":")[0] in MAKERS)

    @property
    def compares_maps(self) -> bool:
        """Whether ``self`` is among them: maps without a mask are to be compared with other maps."""
        return "self" in self.masks

    def hash(self) -> str:
        """Return 12 hexadecimal digits that change with the settings, and with the contents of the files they name.

        Raises:
            InputError: Such a file cannot be read.
        """
        files = [_digest(rest) for given in self.makers if (rest := given.partition(":")[2])]
        about = {**asdict(self), "masks": self.makers, "files": files, "version": _VERSION}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def check_words(name: str) -> None:
    """Check the name of a way to find things in texts: ``rule``, ``spacy`` or ``spacy:MODEL``.

    Raises:
        InputError: There is no such way.
    """
    way, colon, model = name.partition(":")
    if way not in {RULE, PARSER} or (colon and (way == RULE or not model)):
        raise InputError(f"words: must be {RULE}, {PARSER} or {PARSER}:MODEL, not {name!r}")


def _digest(name: str) -> str:
    """Hash a file, or the files of a model's folder; the name itself where it is on the hub."""
    path = Path(name).expanduser()
    if not path.exists():
        return name
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    digest = hashlib.sha256()
    try:
        for file in files:
            with file.open("rb") as stream:
                digest.update(file.name.encode())
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
