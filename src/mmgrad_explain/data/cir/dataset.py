"""Data sets of composed image retrieval in memory: a record for each query, an index of images, and findings.

Needs neither torch nor NumPy. :func:`~mmgrad_explain.data.cir.formats.read_cir` reads every format into this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Level: TypeAlias = Literal["needed", "training", "absent", "odd"]
LEVELS: dict[Level, str] = {
    "needed": "missing, and needed to evaluate",
    "training": "missing, and needed to train",
    "absent": "not here",
    "odd": "odd, and taken as it is",
}
"""How bad a finding is, with its title in reports."""

SHOWN = 5
"""How many names a finding holds."""


@dataclass(frozen=True)
class CirTriplet:
    """One query: a reference image and a modifier text, with the target image where it is public.

    Attributes:
        id: Unique in its part of the set.
        reference: Id of the reference image.
        captions: The modifier text as it stands in the file; FashionIQ has two captions for a query.
        target: Id of the target image; None where it is not public.
        relevant: Ids of all images that count as right, including the target; empty without a target.
        group: Ids of the images that the subset figures rank (CIRR), including the reference.
        soft: Scores of images by id, as CIRR's ``target_soft`` has them.
        aspects: CIRCO's semantic aspects of the query.
        paraphrases: Other texts that ask for the same, where the file has any.
        mask: Where the text asks for a change in the reference: a path below the set's folder, where the file has one.
        target_mask: Likewise in the target.
        edit: Kind of the edit; empty where the file has none.
    """

    id: str
    reference: str
    captions: tuple[str, ...]
    target: str | None = None
    relevant: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    soft: Mapping[str, float] = field(default_factory=dict)
    aspects: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    mask: str | None = None
    target_mask: str | None = None
    edit: str = ""

    @property
    def text(self) -> str:
        """The modifier text for a model: single blanks; several captions as ``Caption one and caption two``.

        Of several captions, ``. ? ,`` at the ends are removed and the first is capitalised, as is usual for FashionIQ
        since Baldrati et al. (CLIP4Cir). Empty captions are left out; the text is empty if all are.
        """
        return join_captions(self.captions)


def join_captions(captions: Sequence[str]) -> str:
    """Join captions as :attr:`CirTriplet.text` does, in the order given."""
    tidy = [" ".join(caption.split()) for caption in captions]
    if len(tidy) > 1:
        tidy = [caption.strip(".?, ") for caption in tidy]
    tidy = [caption for caption in tidy if caption]
    if len(captions) > 1 and tidy:
        tidy[0] = tidy[0].capitalize()
    return " and ".join(tidy)


@dataclass(frozen=True)
class ImageIndex:
    """Where the images are.

    Attributes:
        paths: The file of each image, by id; for a missing image the first place where it was looked for.
        missing: Ids without a file, or with an empty one.
        galleries: Ids of the images that are ranked, each once, for every part of the set.
    """

    paths: Mapping[str, Path]
    missing: frozenset[str]
    galleries: Mapping[str, tuple[str, ...]]

    def path(self, image: str) -> Path:
        """Return the file of an image.

        Raises:
            InputError: It is missing, or the data set has no such image.
        """
        if image not in self.paths:
            raise InputError(f"no image {image!r} in this data set")
        if image in self.missing:
            raise InputError(f"the image {image!r} is missing: there should be {self.paths[image]}")
        return self.paths[image]


@dataclass(frozen=True)
class Finding:
    """Something missing or odd.

    Attributes:
        level: A key of :data:`LEVELS`.
        where: The part of the set or the file it is about.
        what: What is wrong.
        count: Number of records, images or files.
        first: Some of them, by name.
        advice: What to do about it, or how it is treated.
    """

    level: Level
    where: str
    what: str
    count: int
    first: tuple[str, ...]
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.count} x {self.what}; {self.advice}: {self.names}"

    @property
    def names(self) -> str:
        """Some names, and the number of the others."""
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return ", ".join(self.first) + more

    @classmethod
    def of(cls, level: Level, where: str, what: str, names: Iterable[str], advice: str) -> list[Finding]:
        """Make a finding about some names; no finding if there are none."""
        concerned = list(names)
        return [cls(level, where, what, len(concerned), tuple(concerned[:SHOWN]), advice)] if concerned else []


def sort_by_level(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by :data:`LEVELS`; within a level they stay in order."""
    order = list(LEVELS)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def list_used_images(queries: Iterable[CirTriplet], gallery: Iterable[str]) -> list[str]:
    """List the ids of the images that a part ranks or its queries name, each once."""
    used = list(gallery)
    for query in queries:
        used += [query.reference, *query.relevant, *query.group]
    return list(dict.fromkeys(used))


def find_level(part: str) -> Level:
    """Find how bad it is if a part lacks something: a training split is needed only to train."""
    return "training" if part.rpartition(".")[2] == "train" else "needed"


@dataclass(frozen=True)
class CirSet:
    """A data set.

    A *part* is what is ranked together: a split (``val``), or a split of a category (``dress.val``).

    Attributes:
        name: The format, such as ``"cirr"``.
        root: The folder.
        queries: All queries of each part, in the file's order.
        images: The files of the images, and the galleries of the parts.
        findings: What is missing or odd, worst first.
    """

    name: str
    root: Path
    queries: Mapping[str, tuple[CirTriplet, ...]]
    images: ImageIndex
    findings: tuple[Finding, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that evaluation needs is there."""
        return not any(finding.level == "needed" for finding in self.findings)

    def require(self) -> None:
        """Check that everything that evaluation needs is there.

        Raises:
            InputError: Something is missing; the message says what, and how to see all of it.
        """
        needed = [finding for finding in self.findings if finding.level == "needed"]
        if needed:
            more = f" (and {len(needed) - 1} findings more)" if len(needed) > 1 else ""
            check = f"see `mmgrad-explain data check {self.name} {self.root}`"
            raise InputError(f"{self.name} in {self.root} cannot be evaluated: {needed[0]}{more}; {check}")

    def summarize(self) -> dict[str, Any]:
        """Count queries, targets and gallery of each part, and the images of all parts, for reports."""
        parts = {}
        for part, queries in self.queries.items():
            used = {query.reference for query in queries} | {query.target for query in queries if query.target}
            parts[part] = {
                "queries": len(queries),
                "with target": sum(query.target is not None for query in queries),
                "gallery": len(self.images.galleries[part]),
                "references and targets": len(used),
            }
            sets = {frozenset(query.group) for query in queries if query.group}
            parts[part] |= {"groups": len(sets)} if sets else {}
        return {"parts": parts, "pictures": len(self.images.paths), "missing": len(self.images.missing)}
