"""Counts what a set of edited photographs holds, for its manifest, and lists the licences of the photographs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mmgrad_explain.data.set_files import LICENCES_FILE
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmgrad_explain.data.instances.records import InstanceSet

_LICENCE_NOTE = (
    "A licence that asks for the author's name, the same licence, or no commercial use asks this of the edits too."
)
_EXAMPLES = 20  # names listed for each problem
_COUNTED = {"edits": "edit", "classes": "class", "qualifiers": "qualifier", "folds": "fold"}
"""Entries of the manifest that count the values of a key of the records."""


class EditTally:
    """Counts a set of edited photographs; see :class:`~mmgrad_explain.data.set_builder.Tally`.

    Args:
        source: The photographs.
        asked: The requested number of triplets; None for all.
    """

    def __init__(self, source: InstanceSet, asked: int | None) -> None:
        self.source = source
        self.asked = asked
        self.tried = 0
        self.partnered = 0
        self.counts: dict[str, Counter[str]] = {what: Counter() for what in (*_COUNTED, "licences")}
        self.skipped: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.problems: list[str] = []
        self.licences: dict[tuple[str, str], dict[str, str]] = {}
        self.used: set[str] = set()

    def add(self, entry: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Count a photograph."""
        self.tried += 1
        self.skipped.update(entry["skipped"])
        self.problems += entry["problems"]
        self.damaged += (f"{entry['photo']}: {problem}" for problem in entry["problems"])
        for record in records:
            photo = record["source_image"]
            self.used.add(photo)
            self.partnered += bool(record["contrast_ids"])
            for what, key in _COUNTED.items():
                self.counts[what][str(record[key])] += 1
            self.counts["licences"][record["license"] or "not stated"] += 1
            self.licences.setdefault((record["license"], record["license_url"]), {})[photo] = record["attribution"]

    def summarize(self) -> dict[str, Any]:
        """Return the entries of the manifest.

        Raises:
            InputError: Not one triplet could be made.
        """
        if not self.used:
            reasons = ", ".join(f"{reason} ({n})" for reason, n in self.skipped.most_common(3))
            reasons = reasons or next(iter(self.problems), "no objects")
            raise InputError(f"not one triplet could be made of {self.tried} photographs: {reasons}")
        problems = {**self.source.problems, **({"damaged": self.damaged} if self.damaged else {})}
        return {
            "asked": self.asked,
            "photographs": {"in the data set": len(self.source.photos), "tried": self.tried, "used": len(self.used)},
            **{what: dict(sorted(counted.items())) for what, counted in self.counts.items()},
            "with contrast partners": self.partnered,
            "skipped": dict(sorted(self.skipped.items())),
            "problems": {
                what: {"count": len(names), "first": list(names)[:_EXAMPLES]}
                for what, names in sorted(problems.items())
            },
            "source": self.source.description,
        }

    def texts(self) -> dict[str, str]:
        """Return the licences of the set's photographs, and their authors, as a text file."""
        lines = [
            "The pictures of this set are edited versions of photographs, each under its own licence.",
            _LICENCE_NOTE,
        ]
        for (name, url), photos in sorted(self.licences.items()):
            lines += ["", f"{name or 'Licence not stated: find out before you share these'} {url}".rstrip()]
            lines += [f"    {photo}  {attribution}".rstrip() for photo, attribution in sorted(photos.items())]
        return {LICENCES_FILE: "\n".join(lines) + "\n"}
