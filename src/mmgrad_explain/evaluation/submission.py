"""Files for the servers that keep the targets of CIRR's and CIRCO's test splits.

A file is checked against the server's rules before it is written: a server says little about what is wrong, and a
failed attempt counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.retrieval import best_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from mmgrad_explain.data.cir.dataset import CirSet, CirTriplet
    from mmgrad_explain.metrics.rankings import RankingQueries

CIRR_LENGTHS = {"recall": 50, "recall_subset": 3}
"""How many image names each of CIRR's files has for a query."""
CIRR_BYTES = 5_000_000
"""The largest file that CIRR's server takes."""
CIRCO_LENGTH = 50
"""How many image numbers CIRCO's file has for a query."""
_FILES = {"cirr": ("cirr_{}_recall.json", "cirr_{}_recall_subset.json"), "circo": ("circo_{}.json",)}


def has_server(name: str) -> bool:
    """Return whether a format's test targets are kept by a server that takes submissions."""
    return name in _FILES


def submission_files(data: CirSet) -> list[str]:
    """List the names of the files that the set's server takes, for every part.

    Raises:
        InputError: The set has no server.
    """
    if not has_server(data.name):
        raise InputError(f"{data.name} has no server: a submission can be made for {' and '.join(_FILES)}")
    return [name.format(part) for part in data.queries for name in _FILES[data.name]]


def make_submissions(
    name: str,
    part: str,
    queries: Sequence[CirTriplet],
    gallery: Sequence[str],
    indices: RankingQueries,
    similarities: Iterable[Tensor],
) -> dict[str, Any]:
    """Make the content of the files for a set's server, for one part.

    Args:
        name: Name of the format, one with a server.
        part: The part of the set.
        queries: Its queries.
        gallery: Names of the images that are ranked.
        indices: The queries as indices into the gallery.
        similarities: Of the queries to the gallery, ``(q, G)`` each, in their order.

    Returns:
        The content by file name.

    Raises:
        InputError: The rankings break a rule of the server.
    """
    rules = {"recall": (CIRR_LENGTHS["recall"], False), "recall_subset": (CIRR_LENGTHS["recall_subset"], True)}
    lengths = rules if name == "cirr" else {"answers": (CIRCO_LENGTH, False)}
    rankings: dict[str, dict[str, list[str]]] = {kind: {} for kind in lengths}
    start = 0
    for chunk in similarities:
        rows = slice(start, start + len(chunk))
        start = rows.stop
        for kind, (length, group) in lengths.items():
            candidates = indices.candidates(rows, exclude_reference=name == "cirr", group=group)
            for query, row in zip(queries[rows], best_first(chunk, length, candidates), strict=True):
                rankings[kind][query.id] = [gallery[i] for i in row.tolist()]
    files = [file.format(part) for file in _FILES[name]]
    if name == "circo":
        return {files[0]: circo_submission(rankings["answers"], [query.id for query in queries])}
    references = {query.id: query.reference for query in queries}
    groups = {query.id: query.group for query in queries}
    return {
        files[0]: cirr_submission("recall", rankings["recall"], references, groups),
        files[1]: cirr_submission("recall_subset", rankings["recall_subset"], references, groups),
    }


def cirr_submission(
    metric: Literal["recall", "recall_subset"],
    rankings: Mapping[str, Sequence[str]],
    references: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Make one of the two files for CIRR's server, version ``rc2``.

    Args:
        metric: Which of the two.
        rankings: Image names by pair id, the best first: 50, or 3 of the query's group for the subset.
        references: The reference by pair id, for all queries of the split.
        groups: The names of the query's group by pair id.

    Returns:
        The content of the file.

    Raises:
        InputError: A query is missing or unknown, or its names break a rule: their number, each once, without the
            reference, within the group.
    """
    length = CIRR_LENGTHS[metric]
    _check_ids(rankings, references)
    for pair, names in rankings.items():
        _check_names(pair, names, length)
        if references[pair] in names:
            raise InputError(f"query {pair}: the reference {references[pair]} must not be among the answers")
        outside = [name for name in names if name not in groups[pair]] if metric == "recall_subset" else []
        if outside:
            raise InputError(f"query {pair}: {outside[0]} is not in its group")
    return {"version": "rc2", "metric": metric, **{pair: list(names) for pair, names in rankings.items()}}


def circo_submission(rankings: Mapping[str, Sequence[str]], queries: Sequence[str]) -> dict[str, list[int]]:
    """Make the file for CIRCO's server.

    Args:
        rankings: The ids of 50 images by query id, the best first.
        queries: Ids of all queries of the split.

    Returns:
        The content of the file, in the order of ``queries``.

    Raises:
        InputError: A query is missing or unknown, its ids are not 50 different ones, or an id is not a number.
    """
    _check_ids(rankings, dict.fromkeys(queries))
    for query, images in rankings.items():
        _check_names(query, images, CIRCO_LENGTH)
        for image in images:
            if not image.isdecimal():
                raise InputError(f"query {query}: {image!r} is not the number of a COCO image")
    return {query: [int(image) for image in rankings[query]] for query in queries}


def write_submission(submission: Mapping[str, Any], file: Path, *, overwrite: bool = False) -> None:
    """Write a submission, whole or not at all.

    Raises:
        OutputExistsError: The file exists and ``overwrite`` is false.
        InputError: It cannot be written, or is larger than CIRR's server takes.
    """
    content = json.dumps(submission).encode()
    if "metric" in submission and len(content) > CIRR_BYTES:
        raise InputError(f"the submission has {len(content)} bytes, the server takes {CIRR_BYTES}")
    with atomic_file(file, overwrite=overwrite) as stream:
        stream.write(content)


def _check_ids(rankings: Mapping[str, Any], queries: Mapping[str, Any]) -> None:
    missing = [query for query in queries if query not in rankings]
    unknown = [query for query in rankings if query not in queries]
    if missing or unknown:
        what = f"{len(missing)} are missing" if missing else f"{len(unknown)} are unknown"
        raise InputError(f"a submission needs all {len(queries)} queries: {what}, first {(missing or unknown)[0]}")


def _check_names(query: str, names: Sequence[str], length: int) -> None:
    if len(names) != length:
        raise InputError(f"query {query}: {len(names)} answers, but it must be {length}")
    if len(set(names)) != length:
        raise InputError(f"query {query}: an image is among the answers twice")
