"""What a built triplet set says of itself: its manifest, and the licences of its photographs."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mmgrad_explain._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmgrad_explain.data.edits.worker import Made
    from mmgrad_explain.data.instances.records import InstanceSet
    from mmgrad_explain.data.triplets import Triplet

_EXAMPLES = 20  # names listed for each problem


def manifest_of(
    source: InstanceSet,
    done: Sequence[Made],
    triplets: Sequence[Triplet],
    options: Mapping[str, Any],
    skipped: Mapping[str, int],
    count: int | None,
) -> dict[str, Any]:
    """Describe a finished set.

    Args:
        source: What it was built from.
        done: All photographs that were tried.
        triplets: All that the set holds.
        options: With which it was built.
        skipped: What was left out why, counted.
        count: How many triplets were asked for; None for all.

    Returns:
        Ready for JSON; the same for every number of workers.
    """
    damaged = [f"{made.photo}: {problem}" for made in done for problem in made.problems]
    problems = {**source.problems, **({"damaged": damaged} if damaged else {})}
    return {
        "complete": True,
        "count": len(triplets),
        "asked": count,
        "photographs": {
            "in the data set": len(source.photos),
            "tried": len(done),
            "used": len({t.source_image for t in triplets}),
        },
        "edits": _counted(t.edit for t in triplets),
        "classes": _counted(t.class_name for t in triplets),
        "qualifiers": _counted(t.qualifier for t in triplets),
        "folds": _counted(str(t.fold) for t in triplets),
        "licences": _counted(t.licence or "not stated" for t in triplets),
        "with contrast partners": sum(bool(t.contrast_ids) for t in triplets),
        "skipped": dict(sorted(skipped.items())),
        "problems": {
            what: {"count": len(names), "first": list(names)[:_EXAMPLES]} for what, names in sorted(problems.items())
        },
        "source": source.description,
        "options": dict(options),
        "versions": _versions(),
    }


def licences_text(triplets: Sequence[Triplet]) -> str:
    """Give the licences of a set's photographs, and whom each is from, as a text file."""
    photos: dict[tuple[str, str], dict[str, str]] = {}
    for triplet in triplets:
        photos.setdefault((triplet.licence, triplet.licence_url), {})[triplet.source_image] = triplet.attribution
    lines = [
        "The pictures of this set are edited versions of photographs, each under its own licence.",
        "A licence that asks for the author's name, the same licence, or no commercial use asks this of the edits too.",
    ]
    for (name, url), names in sorted(photos.items()):
        lines += ["", f"{name or 'Licence not stated: find out before you share these'} {url}".rstrip()]
        lines += [f"    {photo}  {attribution}".rstrip() for photo, attribution in sorted(names.items())]
    return "\n".join(lines) + "\n"


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _versions() -> dict[str, str]:
    found = {"mmgrad_explain": __version__, "python": platform.python_version()}
    for package in ("numpy", "pillow", "opencv-python", "opencv-python-headless"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
