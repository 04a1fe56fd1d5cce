"""Checks of the queries and galleries of a composed-retrieval set, the same for every format."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mmgrad_explain.data.cir.dataset import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mmgrad_explain.data.cir.dataset import CirTriplet, Level

WITHOUT_TARGETS = ("test", "test1")
"""Splits whose targets only a server knows."""


def gallery_findings(part: str, gallery: Sequence[str]) -> Iterator[Finding]:
    """Find images that a gallery lists more than once."""
    repeated = [image for image, count in Counter(gallery).items() if count > 1]
    yield from Finding.of("odd", part, "image listed more than once in the gallery", repeated, "it is ranked once")


def query_findings(
    part: str, queries: Sequence[CirTriplet], gallery: Collection[str], known: Collection[str], level: Level
) -> Iterator[Finding]:
    """Check the queries of a part.

    Args:
        part: Its name.
        queries: All of them.
        gallery: Ids of the images that are ranked.
        known: Ids of all images that the data set names a file for.
        level: Of findings about something missing.
    """
    yield from _names(part, queries, gallery, known, level)
    yield from _targets(part, queries, gallery, level)
    yield from _captions(part, queries)
    yield from _soft(part, queries)


def _names(
    part: str, queries: Sequence[CirTriplet], gallery: Collection[str], known: Collection[str], level: Level
) -> Iterator[Finding]:
    ids = Counter(query.id for query in queries)
    repeated = [name for name, count in ids.items() if count > 1]
    yield from Finding.of(level, part, "id that occurs more than once", repeated, "give each query an id of its own")
    unknown = [f"{q.reference} of {q.id}" for q in queries if q.reference not in known]
    yield from Finding.of(level, part, "reference that no list of images names", unknown, "is the list complete?")
    outside = [f"{image} of {q.id}" for q in queries for image in q.group if gallery and image not in gallery]
    yield from Finding.of(level, part, "member of a group that is not in the gallery", outside, "is the list complete?")
    misplaced = [q.id for q in queries if q.group and q.reference not in q.group]
    yield from Finding.of(
        "odd", part, "query whose reference is not in its group", misplaced, "the group is ranked whole"
    )
    same = Counter((q.reference, q.captions, q.target) for q in queries)
    twice = [q.id for q in queries if same[q.reference, q.captions, q.target] > 1]
    yield from Finding.of("odd", part, "query that says the same as another", twice, "each counts")
    yield from Finding.of(level, part, "gallery without an image", [] if gallery else [part], "nothing can be found")


def _targets(part: str, queries: Sequence[CirTriplet], gallery: Collection[str], level: Level) -> Iterator[Finding]:
    without = [query.id for query in queries if query.target is None]
    if len(without) < len(queries) or part.rpartition(".")[2] not in WITHOUT_TARGETS:
        yield from Finding.of(level, part, "query without a target", without, "it can be ranked, but not judged")
    outside = [f"{image} of {q.id}" for q in queries for image in q.relevant if gallery and image not in gallery]
    yield from Finding.of(level, part, "target that is not in the gallery", outside, "nothing could find it")
    other = [q.id for q in queries if q.group and q.target is not None and q.target not in q.group]
    yield from Finding.of(level, part, "query whose target is not in its group", other, "the subset figures need it")
    same_image = [q.id for q in queries if q.target == q.reference]
    advice = "where the reference is removed from the ranking, such a query counts as missed"
    yield from Finding.of("odd", part, "query whose target is its reference", same_image, advice)


def _captions(part: str, queries: Sequence[CirTriplet]) -> Iterator[Finding]:
    silent = [q.id for q in queries if not q.text]
    yield from Finding.of("odd", part, "query without a word", silent, "its image alone is the query")
    empty = [q.id for q in queries if q.text and not all(map(str.strip, q.captions))]
    yield from Finding.of("odd", part, "query with an empty caption beside others", empty, "the others are used")
    around = [q.id for q in queries for caption in q.captions if caption.strip() and caption != caption.strip()]
    yield from Finding.of("odd", part, "caption with blanks at its ends", around, "they are left out")
    inside = [q.id for q in queries for c in q.captions if " ".join(c.split()) != c.strip()]
    yield from Finding.of("odd", part, "caption with several blanks in a row", inside, "they become one")


def _soft(part: str, queries: Sequence[CirTriplet]) -> Iterator[Finding]:
    scored = [query for query in queries if query.soft and query.target is not None]
    advice = "hard and soft targets give different figures"
    less = [q.id for q in scored if q.target is not None and q.soft.get(q.target) != 1]
    yield from Finding.of("odd", part, "query whose hard target is not a full soft target", less, advice)
    same_image = [q.id for q in scored if q.reference in q.soft]
    removed = "with soft targets it is removed from the ranking all the same"
    yield from Finding.of("odd", part, "query whose reference is a soft target", same_image, removed)
    outside = [q.id for q in scored if q.group and not set(q.soft) <= set(q.group)]
    yield from Finding.of("odd", part, "query with soft targets outside its group", outside, advice)
